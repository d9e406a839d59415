"""What docs/service.md says of a life in service is so."""

import contextlib
import io
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from distributed.serving.metrics import FOLDERS, METRICS, PATHS, PREFIX
from distributed.serving.settings import SHORTEST_TOKEN, RequestLimits, ServeArguments
from mygo.data.checks import LEAST_EXAMPLES
from mygo.service.config import ExampleLimits, InboxLimits, ServiceConfig
from tests.mygo.cli.fake_service import FakeService, inputs_in, serving

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = (REPOSITORY / "docs" / "service.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def service() -> Iterator[FakeService]:
    with serving(FakeService(polls_until_done=1)) as service:
        yield service


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with the photos that the page names."""
    for name in ("photos/robin/1.jpg", "photos/blue tit/2.jpg", "1.jpg", "2.jpg", "more.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (250, 9, 9)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_client_in_python_teaches_and_asks(
    service: FakeService, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.token = "a-token-of-a-test"
    monkeypatch.setenv("MYGO_TOKEN", service.token)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code.count(ADDRESS) == 1
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code.replace(ADDRESS, service.url), "docs/service.md", "exec"), {})
    assert out.getvalue() == "3 wasp\n"
    taught = {asked.query["class"][0]: inputs_in(asked) for asked in service.asked if asked.path == "/teach"}
    assert taught == {
        "robin": [(photos / "photos/robin/1.jpg").read_bytes()],
        "blue tit": [(photos / "photos/blue tit/2.jpg").read_bytes()],
    }
    assert [asked.path for asked in service.asked][2:] == ["/sleep", "/lessons/1", "/predict"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_commands_of_curl_send_what_the_service_takes(service: FakeService, photos: Path) -> None:
    block = next(block for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL) if "/teach" in block)
    commands = [line for line in block.splitlines() if line.startswith("curl ")]
    for command in commands:
        subprocess.run(["bash", "-c", command.replace(ADDRESS, service.url)], check=True, capture_output=True)
    paths = [asked.path for asked in service.asked]
    assert paths == ["/teach", "/inbox", "/sleep", "/lessons", "/predict", "/predict"]
    assert set(paths) <= set(PATHS)  # the fake one does not know all of them
    first, *_, photo, text = service.asked
    assert len(inputs_in(first)) == 2
    assert inputs_in(photo) == [(photos / "more.jpg").read_bytes()]
    assert inputs_in(text) == ["It sings at dawn."]


def test_every_path_is_one_of_the_service_and_all_of_them_are_told() -> None:
    named = set(re.findall(r"`(?:GET|POST|DELETE) (/[\w/]+)", PAGE))
    known = {*PATHS, *(name.replace("{id}", "ID") for name in FOLDERS.values())}
    assert named <= known
    assert {path for path in known if "{" not in path} - {"/", "/docs", "/openapi.json"} == named


def test_every_flag_is_one_of_the_service_with_the_default_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ServeArguments.parse(["--help"])
    known = set(re.findall(r"--[a-z][a-z.-]*", capsys.readouterr().out))
    of_others = {"--json", "--url", "--port-forward", "--life", "--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z.-]*", PAGE)) - of_others <= known
    limits, examples, inbox, config = RequestLimits(), ExampleLimits(), InboxLimits(), ServiceConfig()
    for kind in (RequestLimits, ExampleLimits):
        for field in fields(kind):
            assert f"`--{field.name.replace('_', '-')}`" in PAGE, field.name
    for told in (
        f"| {limits.max_body // 2**20} MiB in a request |",
        f"| {limits.max_inputs} in a request |",
        f"| {examples.max_pixels // 10**6} million in an image; {examples.max_text_bytes:,} in a text |",
        f"| {examples.max_pixels_together // 10**6:,} million in the images of a request |",
        f"| {inbox.max_examples:,}; {inbox.max_bytes // 2**30} GiB |",
        f"| {limits.rate:.0f} requests a second of one client, {limits.burst} at once;",
        f"| {limits.request_seconds:.0f} for a request to arrive",
        f"`--keep-versions` ({config.keep_versions})",
        f"at least {LEAST_EXAMPLES} examples of each class",
        f"at\nleast {SHORTEST_TOKEN} characters",
    ):
        assert re.search(re.sub(r"\\?\s+", r"\\s+", re.escape(told)), PAGE), told


def test_every_metric_of_a_service_is_told() -> None:
    page = (REPOSITORY / "docs" / "watching.md").read_text()
    for name, (kind, _, labels) in METRICS.items():
        full = f"ray_{PREFIX}{name}{'_total' if kind == 'counter' or name == 'lessons' else ''}"
        (row,) = [line for line in page.splitlines() if line.startswith("|") and f"`{full}`" in line]
        assert row.split("|")[2].strip() == ", ".join(labels)
