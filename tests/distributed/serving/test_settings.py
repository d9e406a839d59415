"""What a service is started with, and what is refused before anything is."""

import socket
from dataclasses import fields
from pathlib import Path

import pytest

from distributed.command import whole_range
from distributed.serve import main
from distributed.serving.app import build
from distributed.serving.settings import Access, ServeArguments, ServiceSettings, digest_of
from mygo.cli.remote import TOKEN_VARIABLE
from mygo.errors import InputError
from mygo.files import locked
from mygo.service.config import ServiceConfig

TOKEN = "0123456789abcdef"


def settings_of(*argv: str, reserve: bool = False) -> ServiceSettings:
    return ServiceSettings.of(ServeArguments.parse(["--life", "lives/a", *argv]), reserve=reserve)


def test_the_defaults_are_those_of_a_life_in_service() -> None:
    settings = settings_of()
    assert settings.service == ServiceConfig()
    assert settings.replicas == (1, 1)
    assert settings.life == Path("lives/a").resolve()
    assert settings.access == Access(host_names=frozenset({"localhost", "127.0.0.1", "::1"}))


def test_every_setting_has_a_flag() -> None:
    given = "--sleep-at 03:30 --sleep-after 7 --encoder none --encoder-weights w.bin --unknown-below 0.5 --unknown 0.1 "
    given += "--keep-versions 5 --held-out 0.2 --save-every 9 --inbox.max-examples 8 --inbox.max-bytes 9 "
    given += "--drift-after 50 --max-pixels 10 --max-text-bytes 11"
    found, default = settings_of(*given.split()).service, ServiceConfig()
    same = [each.name for each in fields(found) if getattr(found, each.name) == getattr(default, each.name)]
    assert same == ["learner"]  # a life that is there has its own, and a new one those of its kind
    limits = settings_of("--max-body", "2000", "--max-inputs", "3", "--rate", "4", "--burst", "5").limits
    assert (limits.max_body, limits.max_inputs, limits.rate, limits.burst) == (2000, 3, 4.0, 5)
    assert settings_of("--replicas", "1:4", "--num-workers", "1:2", "--max-failures", "0").replicas == (1, 4)


@pytest.mark.parametrize(
    "argv",
    [
        ["--port", "70000"],
        ["--port", "-1"],
        ["--replicas", "0"],
        ["--replicas", "4:1"],
        ["--replicas", "many"],
        ["--num-workers", "0"],
        ["--num-workers", "x"],
        ["--max-failures", "-1"],
        ["--sleep-at", "25:00"],
        ["--sleep-after", "0"],
        ["--unknown-below", "2"],
        ["--unknown", "0.9"],
        ["--drift-after", "29"],
        ["--keep-versions", "-1"],
        ["--rate", "0"],
        ["--burst", "0"],
        ["--max-body", "1"],
        ["--host", "0.0.0.0"],
        ["--host", "192.168.1.4"],
        ["--token-file", "nowhere"],
    ],
)
def test_what_cannot_be_meant_ends_with_2_and_a_sentence(
    argv: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert main(["--life", str(tmp_path / "life"), *argv]) == 2
    said = capsys.readouterr().err
    assert said.startswith("serve.py: ")
    assert said.count("\n") == 1
    assert not (tmp_path / "life").exists()


def test_a_life_is_named() -> None:
    with pytest.raises(SystemExit) as exited:
        main([])
    assert exited.value.code == 2


def test_a_port_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--life", str(tmp_path / "life"), "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err


def test_a_life_that_is_in_use_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with locked(tmp_path / "life", 0):
        assert main(["--life", str(tmp_path / "life"), "--port", "0"]) == 2
    assert "in use" in capsys.readouterr().err


# -- who may ask ------------------------------------------------------------------------------------------------------


def test_the_token_comes_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    expected = digest_of(TOKEN)
    assert settings_of("--host", "0.0.0.0").access.token_digest == expected
    monkeypatch.delenv(TOKEN_VARIABLE)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    settings = settings_of("--host", "::", "--token-file", str(tmp_path / "token"))
    assert settings.access.token_digest == expected
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize("token", ["short", "with a space in it", "ünïcödé-tökëns-ärë-nö"])
def test_a_token_that_is_none_is_refused(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, token)
    with pytest.raises(InputError):
        settings_of()


def test_names_of_the_server() -> None:
    access = settings_of("--allow-host", "Photos.example, mygo-svc.default").access
    assert access.knows("photos.example:8000")
    assert access.knows("mygo-svc.default")
    assert access.knows("LOCALHOST")
    assert not access.knows("10.0.0.1")


# -- from a configuration file ----------------------------------------------------------------------------------------


def test_an_application_is_built_from_values_by_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    arguments = ServeArguments.of({"life": str(tmp_path), "sleep_at": "03:30", "allow_host": ["a", "b"], "rate": 5})
    assert (arguments.sleep_at, arguments.allow_host, arguments.limits.rate) == ("03:30", ("a", "b"), 5.0)
    assert ServeArguments.of({"life": "x", "inbox.max_examples": 4, "verbose": True}).inbox.max_examples == 4
    build({"life": str(tmp_path)})


def test_an_application_that_can_be_reached_from_elsewhere_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with pytest.raises(InputError, match="token"):
        build({"life": "x"})


@pytest.mark.parametrize("values", [{"life": "x", "colour": 1}, {"life": "x", "port": "many"}, {}])
def test_values_that_cannot_be_meant_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ServeArguments.of(values)


@pytest.mark.parametrize(("text", "found"), [("1", (1, 1)), ("2:5", (2, 5))])
def test_ranges(text: str, found: tuple[int, int]) -> None:
    assert whole_range(text, "--replicas") == found
