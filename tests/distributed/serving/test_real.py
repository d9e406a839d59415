"""The HTTP side over a real life, in one process: what is taught is learned, and what is hostile does no harm."""

import asyncio
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from distributed.serving.api import service_app
from distributed.serving.calls import Question, Reply
from distributed.serving.workers import KeeperService, PredictorService
from mygo.config.learner import LifeConfig
from mygo.errors import MygoError
from mygo.service.config import ExampleLimits, InboxLimits, ServiceConfig
from tests.distributed.serving.conftest import HERE, MANY, is_sentence

ImageFile = Callable[..., bytes]
WaitUntil = Callable[..., None]
RED, BLUE = (200, 30, 30), (30, 30, 200)


@dataclass(frozen=True)
class LocalPredictors:
    """Answers in this process."""

    service: PredictorService

    async def answer(self, question: Question) -> Reply:
        (found,) = await asyncio.to_thread(self.service.answer, [question])
        if isinstance(found, MygoError):
            raise found
        return found


@contextmanager
def in_service(folder: Path, config: ServiceConfig) -> Iterator[TestClient]:
    keeper = KeeperService(folder, config)
    try:
        app = service_app(keeper, LocalPredictors(PredictorService(folder, config)), HERE, MANY)
        with TestClient(app, base_url="http://127.0.0.1:8000") as client:
            yield client
    finally:
        keeper.close()


def vectors(name: str, count: int, seed: int = 0) -> list[list[float]]:
    """Return vectors around a direction of a class's own."""
    own = np.random.default_rng([*name.encode()]).normal(0, 1, 12)
    found: list[list[float]] = (own + np.random.default_rng(seed).normal(0, 0.2, (count, 12))).tolist()
    return found


def learned(client: TestClient, wait_until: WaitUntil) -> dict[str, Any]:
    """Let the life sleep, or do what was asked for, and return the record of it once it has ended."""
    found: dict[str, Any] = {}

    def ended() -> bool:
        found.update(client.get("/lessons").json()["lessons"][0])
        return found["state"] in ("done", "failed")

    wait_until(ended)
    assert found["state"] == "done", found
    return found


def test_a_life_begins_learns_forgets_and_goes_back(
    tmp_path: Path, tiny_on_vectors: LifeConfig, wait_until: WaitUntil
) -> None:
    def answers(name: str) -> tuple[int, set[str]]:
        found = client.post("/predict", json={"vectors": vectors(name, 8, seed=1)}).json()
        return found["version"], {each["class"] for each in found["predictions"]}

    def teach(*names: str) -> None:
        for name in names:
            assert client.post("/teach", json={"class": name, "vectors": vectors(name, 20)}).status_code == 201

    with in_service(tmp_path / "life", ServiceConfig(learner=tiny_on_vectors, unknown=0)) as client:
        assert client.post("/predict", json={"vectors": [[1.0] * 12]}).status_code == 409
        assert client.get("/healthz").json()["version"] is None
        teach("ash", "birch")
        assert client.post("/sleep").status_code == 202
        assert learned(client, wait_until)["version"] == 1
        assert client.get("/inbox").json()["examples"] == 0
        assert answers("ash") == (1, {"ash"})
        teach("cedar")
        client.post("/sleep")
        learned(client, wait_until)
        assert [answers(name) for name in ("ash", "birch", "cedar")] == [(2, {"ash"}), (2, {"birch"}), (2, {"cedar"})]
        assert client.get("/healthz").json()["version"] == 2
        assert client.post("/rollback", json={"version": 1}).json() == {"version": 3, "was": 1}
        assert answers("ash") == (3, {"ash"})
        assert [each["name"] for each in client.get("/life").json()["classes"]] == ["ash", "birch"]
        assert client.post("/rollback", json={"version": 2}).json() == {"version": 4, "was": 2}
        assert client.post("/forget", json={"class": "birch"}).status_code == 202
        learned(client, wait_until)
        assert answers("ash") == (5, {"ash"})
        assert answers("birch")[1] <= {"ash", "cedar"}
        assert client.post("/rollback", json={"version": 2}).status_code == 404
        assert client.post("/forget", json={"class": "birch"}).status_code == 404
        for _ in range(2):
            answer = client.post("/predict", json={"texts": ["ash"]})
            assert (answer.status_code, is_sentence(answer)) == (422, True)


def bomb(side: int) -> bytes:
    """Return a small PNG of a picture that is ``side`` × ``side``, black."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compressobj(9)
    content = b"".join(rows.compress(bytes(1 + side // 8)) for _ in range(side)) + rows.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def colours(
    tmp_path_factory: pytest.TempPathFactory, image_file: ImageFile, wait_until: WaitUntil
) -> Iterator[TestClient]:
    """A life over pixels that knows red and blue; its photos have at most 100 by 100 pixels."""
    few = LifeConfig(seed=3)
    config = ServiceConfig(
        learner=tiny_pixels(few),
        unknown=0,
        examples=ExampleLimits(max_pixels=10_000),
        inbox=InboxLimits(max_examples=70),
    )
    with in_service(tmp_path_factory.mktemp("colours") / "life", config) as client:
        for name, colour in (("red", RED), ("blue", BLUE)):
            files = [("images", image_file(colour, seed)) for seed in range(20)]
            assert client.post("/teach", params={"class": name}, files=files).status_code == 201
        client.post("/sleep")
        learned(client, wait_until)
        yield client


def tiny_pixels(config: LifeConfig) -> LifeConfig:
    """Return ``config`` with as little of everything as will do."""
    from mygo.config.settings import change

    few = {"wake.head_steps": 30, "wake.adapt_steps": 30, "wake.batch_size": 32, "sleep.steps": 20}
    few |= {"sleep.batch_size": 32, "sleep.steps_per_block": 8, "memory.gan.steps": 20, "memory.gan.batch_size": 16}
    few |= {"memory.gan.latent_dim": 8, "memory.gan.generator_width": 8, "memory.gan.discriminator_width": 8}
    return change(config, {**few, "memory.fidelity_floor": 0.0, "memory.diversity_floor": 0.0})


def test_images_of_all_forms_get_the_same_answer(colours: TestClient, image_file: ImageFile) -> None:
    import base64

    image = image_file(RED, 100)
    answers = [
        colours.post("/predict", files=[("images", image)]),
        colours.post("/predict", content=image, headers={"content-type": "image/png"}),
        colours.post("/predict", json={"images": [base64.b64encode(image).decode()]}),
    ]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert answers[0].json()["predictions"][0]["class"] == "red"


def test_an_image_that_cannot_be_seen_does_not_keep_the_others_from_an_answer(
    colours: TestClient, image_file: ImageFile
) -> None:
    files = [("images", image_file(BLUE, 9)), ("images", b"no image"), ("images", image_file(RED, 9))]
    first, second, third = colours.post("/predict", files=files).json()["predictions"]
    assert (first["class"], third["class"]) == ("blue", "red")
    assert second["class"] is None
    assert second["error"].startswith("Image 2 cannot be seen")


def webp() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2000, 2000)).save(file, "WEBP")
    return file.getvalue()


HOSTILE = {
    "a bomb": bomb(20_000),
    "a larger bomb": bomb(2_000),
    "a large webp": webp(),
    "no image": b"<svg onload=alert(1)>",
    "a header alone": b"\x89PNG\r\n\x1a\n",
    "half": bomb(64)[:45],
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_images_are_refused_before_they_are_decoded(
    colours: TestClient, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    load = Image.Image.load

    def watched(picture: Image.Image) -> Any:
        sizes.append(picture.width * picture.height)
        return load(picture)

    monkeypatch.setattr(Image.Image, "load", watched)
    for path in ("/predict", "/teach?class=a"):
        answer = colours.post(path, content=content, headers={"content-type": "image/png"})
        assert answer.status_code == 422
        assert is_sentence(answer)
    assert max(sizes, default=0) <= 10_000
    assert colours.get("/inbox").json()["examples"] == 0


@pytest.mark.parametrize("name", ["\n", " ", "a\x00b", "\u202e", "\ud83d", "a\nb", "\x1b[2J"])
def test_names_that_are_none_are_refused(colours: TestClient, image_file: ImageFile, name: str) -> None:
    import json

    body = json.dumps({"class": name, "images": ["YQ=="]})
    answer = colours.post("/teach", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert is_sentence(answer)
    answer = colours.post("/forget", content=json.dumps({"class": name}), headers={"content-type": "application/json"})
    assert answer.status_code in (404, 422)


@pytest.mark.parametrize("name", ["<b>x</b>", "../../etc", "/etc/passwd", "con", "a" * 100, "🐝", "'; drop", "%s{0}"])
def test_names_that_are_odd_are_names(colours: TestClient, image_file: ImageFile, name: str) -> None:
    answer = colours.post("/teach", params={"class": name}, files=[("images", image_file())])
    assert (answer.status_code, answer.json()["class"]) == (201, name)
    assert colours.get("/inbox").json()["classes"] == {name: 1}
    answer = colours.post("/sleep")
    assert (answer.status_code, is_sentence(answer)) == (409, True)
    assert colours.delete("/inbox", params={"class": name}).json() == {"deleted": 1}


def test_the_inbox_has_its_limits(colours: TestClient, image_file: ImageFile) -> None:
    files = [("images", image_file(seed=seed)) for seed in range(40)]
    assert colours.post("/teach", params={"class": "a"}, files=files).status_code == 201
    answer = colours.post("/teach", params={"class": "a"}, files=files)
    assert (answer.status_code, is_sentence(answer)) == (409, True)
    assert colours.get("/inbox").json()["examples"] == 40
    assert colours.delete("/inbox").json() == {"deleted": 1}
