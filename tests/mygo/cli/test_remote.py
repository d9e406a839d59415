"""``predict --url``: a life in service answers as one on disk does, and what goes wrong is one sentence."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mygo.__main__ import main
from mygo.cli import remote, remote_inputs
from mygo.cli.remote import check_url
from mygo.errors import InputError
from tests.mygo.cli.fake_service import FakeService, inputs_in, serving


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.delenv("MYGO_TOKEN", raising=False)
    with serving(FakeService()) as service:
        yield service


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures, red, blue and red, one of them in a folder of its own, and one that is none."""
    (tmp_path / "photos" / "b").mkdir(parents=True)
    for name, colour in (("a.png", (250, 0, 9)), ("b/wing.jpg", (9, 0, 250)), ("c.webp", (250, 0, 9))):
        Image.new("RGB", (6, 5), colour).save(tmp_path / "photos" / name)
    return tmp_path / "photos"


def answers(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[list[dict], str]:
    """Return what ``predict --json`` prints to stdout and to stderr."""
    assert main(["predict", "--json", *map(str, argv)]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def complaint(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Return the one sentence that ``predict`` ends with."""
    assert main(["predict", *map(str, argv)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("mygo: ")
    assert printed.err.endswith(".\n")
    assert printed.err.count("\n") == 1
    return printed.err


def test_pictures_go_as_they_are_in_one_request_and_come_back_as_of_a_life_on_disk(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, told = answers(capsys, "--url", service.url, pictures)
    assert told == ""
    wasp, bee = {"wasp": 0.75, "bee": 0.25}, {"bee": 0.75, "wasp": 0.25}
    sure = {"confidence": 0.75, "unknown": False, "out_of_distribution": None}
    assert found == [
        {"file": str(pictures / name), "class": next(iter(listed)), "probabilities": listed, **sure}
        for name, listed in (("a.png", wasp), ("b/wing.jpg", bee), ("c.webp", wasp))
    ]
    (asked,) = service.predicting()
    assert inputs_in(asked) == [(pictures / name).read_bytes() for name in ("a.png", "b/wing.jpg", "c.webp")]
    assert b"wing" not in asked.body
    assert asked.query == {"top": ["1000"]}
    assert "authorization" not in asked.headers


def test_the_table_is_that_of_a_life_on_disk(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "--url", f"{service.url}/", str(pictures / "a.png"), str(pictures / "b")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["file", "class", "confidence"]
    assert lines[2:] == [
        [str(pictures / "a.png"), "wasp", "0.750"],
        [str(pictures / "b" / "wing.jpg"), "bee", "0.750"],
    ]


def test_texts_of_arguments_files_and_tables_are_sent_as_they_are(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind = "text"
    (tmp_path / "more.txt").write_text("bürste\n\nwabe\n")
    (tmp_path / "table.csv").write_text('text\n"wer, wo"\n')
    found, _ = answers(capsys, "--url", service.url, "was ist", tmp_path / "more.txt", tmp_path / "table.csv")
    assert [answer["class"] for answer in found] == ["wasp", "bee", "wasp", "wasp"]
    assert [answer["file"] for answer in found[:2]] == ["was ist", f"{tmp_path / 'more.txt'}, line 1"]
    (asked,) = service.predicting()
    assert json.loads(asked.body) == {"texts": ["was ist", "bürste", "wabe", "wer, wo"]}


def test_vectors_are_sent_to_the_last_bit(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind = "vector"
    vectors = np.random.default_rng(3).normal(0, 1, (5, 7)).astype(np.float32)
    np.save(tmp_path / "five.npy", vectors)
    found, _ = answers(capsys, "--url", service.url, tmp_path / "five.npy")
    assert [answer["class"] == "wasp" for answer in found] == (vectors[:, 0] > 0).tolist()
    (asked,) = service.predicting()
    assert np.array_equal(np.array(json.loads(asked.body)["vectors"], np.float32), vectors)


def test_images_of_a_table_are_found_beside_it(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "table.csv").write_text("image\nb/wing.jpg\nc.webp\n")
    found, _ = answers(capsys, "--url", service.url, pictures / "a.png", pictures / "table.csv")
    assert [answer["class"] for answer in found] == ["wasp", "bee", "wasp"]


def test_many_inputs_go_in_requests_within_the_limits_and_keep_their_order(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind = "text"
    texts = [f"{'wb'[number % 3 == 0]} {number}" for number in range(150)]
    (tmp_path / "many.txt").write_text("\n".join(texts))
    found, _ = answers(capsys, "--url", service.url, tmp_path / "many.txt")
    assert [answer["class"] for answer in found] == [{"w": "wasp", "b": "bee"}[text[0]] for text in texts]
    assert [len(inputs_in(asked)) for asked in service.predicting()] == [64, 64, 22]
    service.asked.clear()
    monkeypatch.setattr(remote_inputs, "MOST_BYTES", 300)
    answers(capsys, "--url", service.url, tmp_path / "many.txt")
    assert max(len(asked.body) for asked in service.predicting()) < 500
    assert [text for asked in service.predicting() for text in inputs_in(asked)] == texts


def test_what_is_too_much_at_once_is_sent_in_parts(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind, service.most_inputs = "text", 5
    (tmp_path / "many.txt").write_text("\n".join(f"{'wb'[number % 2]}{number}" for number in range(13)))
    found, _ = answers(capsys, "--url", service.url, tmp_path / "many.txt")
    assert [answer["class"] for answer in found] == ["wasp", "bee"] * 6 + ["wasp"]
    service.most_inputs = 0
    said = complaint(capsys, "--url", service.url, tmp_path / "many.txt")
    assert re.search(r"many.txt, line 1: http\S+ does not take so much at once: A request holds at most 0", said)


def test_a_service_that_does_not_read_what_is_too_much_gets_it_in_parts(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.most_bytes = 2**21
    for number in range(4):  # of 1 MB each
        noise = np.random.default_rng(number).integers(0, 256, (600, 600, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.bmp")
    found, _ = answers(capsys, "--url", service.url, tmp_path)
    assert [Path(answer["file"]).name for answer in found] == ["0.bmp", "1.bmp", "2.bmp", "3.bmp"]
    assert [len(inputs_in(asked)) for asked in service.predicting()] == [1, 1, 1, 1]
    service.most_bytes = 2**20
    said = complaint(capsys, "--url", service.url, tmp_path)
    assert re.search(r"0\.bmp: http\S+ (does not take so much at once|ended the connection)", said), said


def test_what_cannot_be_read_here_or_there_is_listed_and_left_out(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "b.png").write_text("no picture")
    (pictures / "empty.png").write_bytes(b"")
    found, told = answers(capsys, "--url", service.url, pictures / "gone.png", pictures)
    assert [Path(answer["file"]).name for answer in found] == ["a.png", "wing.jpg", "c.webp"]
    assert told.splitlines() == [
        f"mygo: Left out, since it cannot be read: {pictures / 'gone.png'}: FileNotFoundError: No such file or "
        "directory",
        f"mygo: Left out, since it cannot be read: {pictures / 'empty.png'}: ValueError: the file is empty",
        f"mygo: Left out, since it cannot be read: {pictures / 'b.png'}: This is no picture.",
    ]
    said = complaint(capsys, "--url", service.url, pictures / "b.png")
    assert "No input can be read, the first of 1 being" in said


def test_what_it_is_not_sure_of_is_unknown(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _ = answers(capsys, "--url", service.url, pictures / "a.png", "--unknown-below", 0.8)
    assert (found[0]["class"], found[0]["confidence"]) == ("unknown", 0.75)
    said = {"class": "wasp", "confidence": 0.75, "probabilities": {"wasp": 0.75}, "unknown": True, "error": None}
    service.foreign["/predict"] = json.dumps({"version": 3, "predictions": [said]})
    found, _ = answers(capsys, "--url", service.url, pictures / "a.png")
    assert found[0]["class"] == "unknown"


def test_a_life_that_learned_in_between_is_noted(
    service: FakeService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind, service.versions = "text", [3, 4]
    (tmp_path / "many.txt").write_text("\n".join(f"w{number}" for number in range(70)))
    _, told = answers(capsys, "--url", service.url, tmp_path / "many.txt")
    assert told == "mygo: The life learned in between: its versions 3 to 4 answered.\n"


# -- the token --------------------------------------------------------------------------------------------------------


def test_the_token_comes_from_the_environment_or_a_file(
    service: FakeService,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.token = "s3cret"
    said = complaint(capsys, "--url", service.url, pictures)
    assert "wants a token: put it into MYGO_TOKEN, or name a --token-file" in said
    monkeypatch.setenv("MYGO_TOKEN", "another")
    said = complaint(capsys, "--url", service.url, pictures)
    assert "does not accept this token" in said
    assert "another" not in said
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    assert len(answers(capsys, "--url", service.url, "--token-file", file, pictures)[0]) == 3
    monkeypatch.setenv("MYGO_TOKEN", "s3cret")
    assert len(answers(capsys, "--url", service.url, pictures)[0]) == 3


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty: write the token into it"),
        (b"two words", "one is a single word in ASCII"),
        (b"line\r\nX-Other: 1", "one is a single word in ASCII"),
        ("schlüssel".encode(), "holds no token: those are ASCII"),
        (None, "cannot be read (No such file or directory): name the file with the token"),
    ],
)
def test_a_file_without_a_token_is_refused_before_anything_is_asked(
    service: FakeService, tmp_path: Path, content: bytes | None, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    assert expected in complaint(capsys, "--url", service.url, "--token-file", tmp_path / "token", "a.png")
    assert service.asked == []


def test_the_token_goes_nowhere_else(
    service: FakeService, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MYGO_TOKEN", "s3cret")
    with serving(FakeService()) as other:
        service.refusals = [(302, {"Location": f"{other.url}/predict"}, "")]
        said = complaint(capsys, "--url", service.url, pictures)
        assert f"leads to {other.url}/predict: if you trust it, name that as --url" in said
        monkeypatch.setenv("http_proxy", other.url)
        monkeypatch.delenv("no_proxy", raising=False)
        answers(capsys, "--url", service.url, pictures)
        assert other.asked == []


# -- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "headers", "body", "expected"),
    [
        (409, {}, '{"detail": "It has learned nothing yet."}', r"refuses \(409\): It has learned nothing yet\."),
        (422, {}, '{"detail": [{"msg": "odd"}]}', r"refuses \(422\)\."),
        (429, {"Retry-After": "3600"}, "", "has too many requests: ask again later"),
        (500, {}, "Internal Server Error", r"failed \(500\): see its log"),
        (503, {}, '{"detail": "No replica."}', r"failed \(503, No replica\.\): see its log"),
        (400, {}, '{"detail": "\\u001b[2JGo\\naway."}', r"refuses \(400\): .\[2JGo away\."),
    ],
)
def test_a_refusal_is_one_sentence(
    service: FakeService,
    pictures: Path,
    code: int,
    headers: dict[str, str],
    body: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    service.refusals = [(code, headers, body)]
    said = complaint(capsys, "--url", service.url, pictures)
    assert re.search(expected, said), said
    assert service.url in said


def test_who_is_asked_to_wait_waits_and_then_is_answered(
    service: FakeService, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(remote.time, "sleep", waited.append)
    service.refusals = [(429, {"Retry-After": "2"}, ""), (429, {}, ""), (503, {"Retry-After": "0"}, "")]
    found, told = answers(capsys, "--url", service.url, pictures)
    assert len(found) == 3
    assert waited == [2, 1, 0.1]
    assert told == f"mygo: {service.url} is busy: going on in 2 s.\n"
    waited.clear()
    service.refusals = [(429, {"Retry-After": "25"}, "")] * 5
    assert "has too many requests" in complaint_after_notice(capsys, "--url", service.url, pictures)
    assert waited == [25, 25]


def complaint_after_notice(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["predict", *map(str, argv)]) == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_where_nobody_answers_the_sentence_says_what_to_start(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # taken, and not listened at
        port = nobody.getsockname()[1]
        said = complaint(capsys, "--url", f"http://127.0.0.1:{port}", pictures)
    assert f"Nobody answers at http://127.0.0.1:{port} (Connection refused): start distributed/serve.py there" in said


@pytest.mark.parametrize(
    "body",
    [
        "<html>Welcome</html>",
        "[]",
        "{}",
        '{"version": 3, "predictions": []}',
        '{"version": 3, "predictions": ["wasp"]}',
        '{"version": 3, "predictions": [{"class": "wasp", "unknown": false, "error": null}]}',
    ],
)
def test_what_is_no_service_of_a_life_is_told_apart(
    service: FakeService, pictures: Path, body: str, capsys: pytest.CaptureFixture[str]
) -> None:
    service.foreign["/predict"] = body
    said = complaint(capsys, "--url", service.url, pictures / "a.png")
    assert f"What answers at {service.url} is not a life in service: name another --url" in said
    service.foreign["/life"] = body.replace("null", '"tree"')
    expected = "has learned nothing yet: teach it first" if body.startswith("{") else "is not a life in service"
    assert expected in complaint(capsys, "--url", service.url, pictures / "a.png")


def test_a_path_without_a_service_is_told_apart(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is not a life in service" in complaint(capsys, "--url", f"{service.url}/elsewhere", pictures)


def test_a_life_that_has_learned_nothing_is_not_asked(
    service: FakeService, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service.kind = None
    assert "has learned nothing yet: teach it first" in complaint(capsys, "--url", service.url, pictures)
    assert service.predicting() == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), "name its folder with --life, or its address with --url"),
        (("--life", "life", "--url", "http://localhost"), "name its folder with --life, or its address with --url"),
        (("--life", "life", "--token-file", "token"), "--token-file is the token of a service: name its --url, too"),
        (("--url", "http://localhost", "--task", "birds"), "--task goes with --life"),
        (("--url", "http://localhost", "--encoder-weights", "w"), "--encoder-weights goes with --life"),
        (("--url", "localhost:8000"), "write it like http://127.0.0.1:8000"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in complaint(capsys, *flags, "a.png")


@pytest.mark.parametrize(
    "url",
    [
        *("", "127.0.0.1:8000", "ftp://here", "http://", "http://:80", "http://a:99999", "http://a:0", "http://a:b"),
        *("http://[::1", "http://name:word@here", "http://here?a=b", "http://here#a", "http://he re", "http://hére"),
        "http://here\r\nX-Other: 1",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"--url cannot be .*write it like http://127\.0\.0\.1:8000"):
        check_url(url)


def test_addresses_are_taken_with_a_path_before_the_service() -> None:
    assert check_url("https://lives.example:8443/garden/") == "https://lives.example:8443/garden"
    assert check_url("http://[::1]:8000") == "http://[::1]:8000"
