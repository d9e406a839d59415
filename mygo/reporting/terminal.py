"""Words on their way to a terminal, or to what stands in its place: names give it no orders, and streams may fail."""

import errno
import io
import os
import re
import select
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO, cast

from mygo.errors import InputError, MygoError
from mygo.extras import EXTRAS, how_to_install

REPLACEMENT = "\ufffd"
CLOSED_PIPE = 128 + 13
"""What a command ends with whose reader went away, as one that SIGPIPE ended."""

JOINERS = "\u200c\u200d"
"""Characters without a look of their own that spelling needs: Persian's zero-width non-joiner, and that of emoji."""
TAGS = range(0xE0020, 0xE0080)
"""Those of which the flags of countries within countries are made."""
CONTROLS = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of what is no part of a name: controls, formats, lone surrogates, ends of lines."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SIZE = re.compile(r"0*[1-9][0-9]{0,3}")
"""A width or a height that a terminal can have."""

NO_SUCH_PLACE = {
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
}
"""Why a file or folder that a person named cannot be used."""


def printable(text: str) -> str:
    """Return ``text`` with a replacement sign for each character that is an order, or cannot be shown.

    Those are control characters, ends of lines, lone surrogates and what changes the direction of text.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if _is_shown(character) else REPLACEMENT for character in text)


def printable_lines(text: str) -> str:
    """Return ``text`` as `printable` does, line by line: the ends of lines and tabs stay."""
    return "".join(character if character in "\n\t" else printable(character) for character in text)


def _is_shown(character: str) -> bool:
    return unicodedata.category(character) not in CONTROLS or character in JOINERS or ord(character) in TAGS


def exit_code_of(command: Callable[[], None], name: str, how_to_go_on: str = "") -> int:
    """Run ``command`` and return its exit code; what a person must know of a failure goes to stderr.

    ``how_to_go_on`` says what to do after it was interrupted, if there is more to do than to run it again. Inside,
    stdout and stderr are those of `standard_streams`. A command whose output is lost does its work to the end: then it
    ends with 1 and a sentence or, where its reader went away, silently with `CLOSED_PIPE`.
    """
    forget_impossible_sizes()
    with standard_streams() as stdout:
        try:
            code = _code_of(command, name, how_to_go_on)
        except SystemExit as ended:
            if ended.code or stdout.failure is None:
                raise
            code = 0
        lost = stdout.failure
        if lost is None or code:
            return code
        if lost.errno == errno.EPIPE:
            return CLOSED_PIPE
        why = f"The output cannot be written ({lost.strerror}): send it to where there is room."
        print(f"{name}: {why}", file=sys.stderr)
        return 1


def _code_of(command: Callable[[], None], name: str, how_to_go_on: str) -> int:
    def say(text: str) -> None:
        print(f"{name}: {printable(text.replace(chr(10), ' '))}", file=sys.stderr)

    try:
        command()
    except MygoError as error:
        say(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        say(f"{'; '.join(filter(None, ('interrupted', how_to_go_on)))}.")
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            traceback.print_exc()
            return 1
        say(f"The package {package} is not installed: {how_to_install(EXTRAS[package])}.")
        return InputError.exit_code
    except OSError as error:
        if error.filename is None or error.errno not in NO_SUCH_PLACE:
            traceback.print_exc()
            return 1
        say(f"{os.fsdecode(error.filename)} cannot be used ({error.strerror}): name another, or allow it.")
        return InputError.exit_code
    except Exception:
        traceback.print_exc()  # here, where what it quotes is no order to the terminal
        return 1
    return 0


def print_notice(text: str) -> None:
    """Print a line to stderr that a person should know of, beside the results on stdout."""
    print(f"mygo: {printable(text)}", file=sys.stderr)


def forget_impossible_sizes() -> None:
    """Take a COLUMNS or LINES that no terminal can have out of the environment: 0, or no number at all."""
    for name in ("COLUMNS", "LINES"):
        if name in os.environ and not SIZE.fullmatch(os.environ[name]):
            del os.environ[name]


class Sink(io.RawIOBase):
    """The file behind a standard stream. Once it cannot be written to, what comes is dropped; `failure` says why."""

    def __init__(self, descriptor: int) -> None:
        """Write to ``descriptor``, which stays open afterwards."""
        super().__init__()
        self.failure: OSError | None = None
        self._descriptor = descriptor

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, content: Any) -> int:
        """Write all of ``content``, or drop it."""
        rest = memoryview(content)
        while len(rest) and self.failure is None:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # noqa: PERF203 (whoever started this made it so: wait until there is room)
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.failure = error
        return len(content)


class PlainStream(io.TextIOWrapper):
    """A standard stream as libraries see it: what they write to it is shown as it is, without orders to a terminal.

    `orders` writes to the same place whatever is written; it is for a `mygo.reporting.console.new_console`, which keeps
    names apart from its own orders.
    """

    def __init__(self, sink: Sink, encoding: str, errors: str) -> None:
        """Write to ``sink``; what ``encoding`` does not have is written as ``errors`` says."""
        raw = cast(IO[bytes], sink)
        super().__init__(raw, encoding, errors, write_through=True)
        self.orders = io.TextIOWrapper(raw, encoding, errors, write_through=True)

    def isatty(self) -> bool:
        """Return False, so that nobody sends orders."""
        return False

    def write(self, text: str) -> int:
        """Write ``text``; colours are left out, and the return to a line's start before a progress bar stays."""
        bar = text.startswith("\r")
        super().write("\r" * bar + printable_lines(COLOURS.sub("", text[bar:])))
        return len(text)


@contextmanager
def standard_streams() -> Iterator[Sink]:
    """Have stdout and stderr that take any text and never fail; yields what is behind stdout.

    What their encoding does not have is replaced. Streams that are no files, such as a notebook's, stay as they are.
    """
    before = sys.stdout, sys.stderr
    with suppress(OSError):  # for a closed stream; else the next file that is opened would take its place
        while (spare := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(spare)
    sinks = []
    for name, descriptor, errors in (("stdout", 1, "replace"), ("stderr", 2, "backslashreplace")):
        stream: TextIO | None = getattr(sys, name)
        encoding = "utf-8"
        if stream is not None:
            encoding = stream.encoding or encoding
            try:
                stream.flush()
                descriptor = stream.fileno()
            except (OSError, ValueError, AttributeError):
                sinks.append(Sink(descriptor))
                continue
        sinks.append(Sink(descriptor))
        setattr(sys, name, PlainStream(sinks[-1], encoding, errors))
    try:
        yield sinks[0]
    finally:
        sys.stdout, sys.stderr = before
