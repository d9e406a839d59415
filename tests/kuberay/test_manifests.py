"""The objects in kuberay/ are such as KubeRay takes, fit each other, the image and the commands, and are safe."""

import copy
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

import distributed.run
import mygo
from distributed.serving.app import build
from distributed.serving.settings import ServeArguments
from mygo.errors import InputError
from tests.kuberay.schemas import SCHEMAS

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FILES = {"service.yaml": "RayService", "job.yaml": "RayJob", "storage.yaml": "PersistentVolumeClaim"}
ON_RAY = ["service.yaml", "job.yaml"]
TOKEN = "a-token-of-a-test-0123456789"
Manifest = dict[str, Any]


def manifest(file: str) -> Manifest:
    (content,) = yaml.safe_load_all((REPOSITORY / "kuberay" / file).read_text())
    return content


def complaints(content: Manifest) -> list[str]:
    """Return what KubeRay would say of ``content``."""
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[content["kind"]]).iter_errors(content)]


def cluster(file: str) -> Manifest:
    spec = manifest(file)["spec"]
    return spec["rayClusterConfig"] if "rayClusterConfig" in spec else spec["rayClusterSpec"]


def head(file: str) -> Manifest:
    return cluster(file)["headGroupSpec"]["template"]["spec"]


def workers(file: str) -> list[Manifest]:
    return [group["template"]["spec"] for group in cluster(file)["workerGroupSpecs"]]


def pods(file: str) -> list[Manifest]:
    """Return the specs of all pods, with the one that hands a job in."""
    submitter = manifest(file)["spec"].get("submitterPodTemplate")
    return [head(file), *workers(file), *([submitter["spec"]] if submitter else [])]


def serve_config() -> Manifest:
    return yaml.safe_load(manifest("service.yaml")["spec"]["serveConfigV2"])


def application() -> Manifest:
    (found,) = serve_config()["applications"]
    return found


def entrypoint() -> list[str]:
    return shlex.split(manifest("job.yaml")["spec"]["entrypoint"])


def instruction(name: str) -> str:
    """Return what stands after the last instruction of this ``name`` in Dockerfile."""
    return re.findall(rf"^{name} (.+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)[-1]


# -- what KubeRay takes -----------------------------------------------------------------------------------------------


def test_every_file_is_known() -> None:
    assert {path.name for path in (REPOSITORY / "kuberay").iterdir()} == FILES.keys()


@pytest.mark.parametrize("file", FILES)
def test_kuberay_takes_it(file: str) -> None:
    content = manifest(file)
    assert content["kind"] == FILES[file]
    assert complaints(content) == []


def objects_in(content: Any) -> Iterator[Manifest]:
    """Yield all objects within ``content``, and itself, except those whose fields are anybody's."""
    if isinstance(content, dict):
        yield content
        for name, value in content.items():
            if name not in ("requests", "limits", "rayStartParams"):
                yield from objects_in(value)
    elif isinstance(content, list):
        for value in content:
            yield from objects_in(value)


@pytest.mark.parametrize("file", FILES)
def test_a_misspelt_field_is_found_wherever_it_is(file: str) -> None:
    content = copy.deepcopy(manifest(file))
    for found in objects_in(content):
        found["nmae"] = "x"
        assert any("'nmae' was unexpected" in complaint for complaint in complaints(content))
        del found["nmae"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("rayVersion",), "2.60"),
        (("authOptions", "mode"), "tokens"),
        (("headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("workerGroupSpecs", 0, "maxReplicas"), "4"),
        (("workerGroupSpecs", 0, "template", "spec", "restartPolicy"), "Always"),
        (("autoscalerOptions", "resources", "limits", "memory"), "1 GB"),
    ],
)
def test_a_value_that_kuberay_refuses_is_found(path: tuple[str | int, ...], value: object) -> None:
    content = copy.deepcopy(manifest("service.yaml"))
    inner: Any = content["spec"]["rayClusterConfig"]
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert len(complaints(content)) == 1


# -- the service ------------------------------------------------------------------------------------------------------


def test_serve_takes_the_configuration_and_finds_what_it_builds() -> None:
    parsed = ServeDeploySchema.model_validate(serve_config())
    assert (parsed.http_options.host, parsed.http_options.port) == ("0.0.0.0", 8000)
    assert application()["import_path"] == f"{build.__module__}:{build.__name__}"


def test_every_argument_is_a_flag_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYGO_TOKEN", TOKEN)
    arguments = ServeArguments.of(application()["args"])
    arguments.check()
    assert arguments.sleep_at == "03:00"
    assert arguments.host == serve_config()["http_options"]["host"]
    with pytest.raises(InputError, match="There is no setting slep_at"):
        ServeArguments.of({**application()["args"], "slep_at": "03:00"})


def test_it_answers_to_the_names_of_its_service_and_to_probes_and_to_nobody_without_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MYGO_TOKEN", raising=False)
    arguments = ServeArguments.of(application()["args"])
    with pytest.raises(InputError, match="MYGO_TOKEN"):
        arguments.access()
    monkeypatch.setenv("MYGO_TOKEN", TOKEN)
    access = arguments.access()
    service = f"{manifest('service.yaml')['metadata']['name']}-serve-svc"
    for name in (service, f"{service}.default", f"{service}.default.svc.cluster.local", "10.4.0.7", "localhost"):
        assert access.knows(f"{name}:8000"), name
    assert not access.knows("elsewhere.example:8000")


def test_the_token_comes_from_a_secret_that_the_page_makes_and_no_file_holds() -> None:
    for pod in (head("service.yaml"), *workers("service.yaml")):
        (entry,) = [entry for entry in pod["containers"][0]["env"] if entry["name"] == "MYGO_TOKEN"]
        assert "value" not in entry
        secret = entry["valueFrom"]["secretKeyRef"]
        for text in ((REPOSITORY / "kuberay" / "service.yaml"), (REPOSITORY / "docs" / "kubernetes.md")):
            command = f"kubectl create secret generic {secret['name']} --from-file={secret['key']}="
            assert command in text.read_text()
    for file in FILES:
        text = (REPOSITORY / "kuberay" / file).read_text()
        assert not re.search(r"kind: Secret|stringData|token: ", text)


def test_requests_come_where_healthz_answers_and_a_lesson_s_pod_is_not_ended_for_it() -> None:
    for pod in workers("service.yaml"):
        (container,) = pod["containers"]
        assert container["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": "serve"}
        assert {"name": "serve", "containerPort": serve_config()["http_options"]["port"]} in container["ports"]
        assert "livenessProbe" not in container
    assert {"name": "serve", "containerPort": 8000} in head("service.yaml")["containers"][0]["ports"]


def test_a_life_never_has_two_clusters() -> None:
    assert manifest("service.yaml")["spec"]["upgradeStrategy"] == {"type": "None"}


def test_what_the_service_consists_of_is_kept_off_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYGO_TOKEN", TOKEN)
    built = build_app(build(application()["args"]), name=application()["name"])
    reserved = {each["name"]: each["ray_actor_options"]["num_cpus"] for each in application()["deployments"]}
    assert {each.name for each in built.deployments} == reserved.keys()
    assert min(reserved.values()) > 0
    for group in cluster("service.yaml")["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        assert sum(reserved.values()) + 1 <= float(container["resources"]["limits"]["cpu"])  # with a lesson


# -- the job ----------------------------------------------------------------------------------------------------------


def test_the_job_is_the_main_command_with_flags_that_it_knows() -> None:
    python, script, *flags = entrypoint()
    assert python == "python"
    assert script == f"{instruction('WORKDIR')}/distributed/run.py"
    arguments = distributed.run.parse(flags)
    arguments.check()
    (mount,) = head("job.yaml")["containers"][0]["volumeMounts"]
    assert arguments.out is not None
    for path in (arguments.out, arguments.experiment.data_root):
        assert path.is_relative_to(mount["mountPath"])
    _, most = arguments.workers(small=False)
    assert most == sum(group["maxReplicas"] for group in cluster("job.yaml")["workerGroupSpecs"])


# -- both -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ON_RAY)
def test_the_head_has_no_work_that_is_not_its_own(file: str) -> None:
    assert cluster(file)["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for container in head(file)["containers"]:
        assert not [name for name in container["resources"]["limits"] if "gpu" in name]
    spec = manifest(file)["spec"]
    assert spec["excludeHeadPodFromServeSvc"] if file == "service.yaml" else "clusterSelector" not in spec


@pytest.mark.parametrize("file", ON_RAY)
def test_ray_and_the_image_are_of_the_versions_that_are_tested(file: str) -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
    assert cluster(file)["rayVersion"] == pinned
    images = {container["image"] for pod in pods(file) for container in pod["containers"]}
    assert images == {f"registry.example/mygo:{mygo.__version__}-ray{pinned}"}
    assert images.pop() in (REPOSITORY / "Dockerfile").read_text()


@pytest.mark.parametrize("file", ON_RAY)
def test_nodes_ask_for_a_token_and_nobody_is_root(file: str) -> None:
    assert cluster(file)["authOptions"] == {"mode": "token"}
    user, _, group = instruction("USER").partition(":")
    for pod in pods(file):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert (str(security["runAsUser"]), str(security["runAsGroup"])) == (user, group)
        assert security["fsGroup"] == security["runAsGroup"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = [container for pod in pods(file) for container in pod["containers"]]
    for container in (*containers, cluster(file)["autoscalerOptions"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"].keys() == {"requests", "limits"}
    for pod in workers(file):
        assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("file", ON_RAY)
def test_all_nodes_see_the_same_storage(file: str) -> None:
    claim = manifest("storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    places = set()
    for pod in (head(file), *workers(file)):
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount["name"] == volume["name"]
        places.add(mount["mountPath"])
    (place,) = places
    assert Path(application()["args"]["life"]).is_relative_to(place)


@pytest.mark.parametrize("file", ON_RAY)
def test_workers_come_and_go_within_bounds(file: str) -> None:
    assert cluster(file)["enableInTreeAutoscaling"] is True
    for group in cluster(file)["workerGroupSpecs"]:
        assert 1 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.mark.parametrize("file", FILES)
def test_it_names_no_machine_of_ours_and_the_files_that_it_names_are_there(file: str) -> None:
    text = (REPOSITORY / "kuberay" / file).read_text()
    assert not re.search(r"/(root|home|work)/|latest", text)
    hosts = set(re.findall(r"\b[\w.-]+\.(?:com|org|net|internal|example)\b", text))
    assert hosts <= {"registry.example", "nvidia.com"}
    for named in re.findall(r"(?<![\w./-])(?:kuberay|docs|distributed)/[\w./-]*\w", text):
        assert (REPOSITORY / named).exists(), named
