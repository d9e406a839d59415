"""The command that puts a life into service: it answers, is taught, and sleeps without stopping, on Ray Serve.

python distributed/serve.py --life lives/garden
"""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

if __name__ == "__main__":  # started as a script: import from the repository instead of from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console

from distributed.serving.settings import EVERYWHERE, ServeArguments, ServiceSettings
from mygo.errors import InputError, MygoError, StoppedError
from mygo.reporting.console import new_console, plain
from mygo.reporting.terminal import exit_code_of

LOOK_SECONDS = 5.0
"""How often it is looked whether Ray is there."""
ANSWERS_FIRST = ("RAY_worker_niceness", "0")
"""Ray's processes are as important as others, which its own default, 15, does not say: people wait for answers."""
ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""All threads allocate from one arena of glibc's: with one each, what a thread freed is not used for others, and a
process that answers grew by 40 % in five minutes."""


class ServiceLostError(MygoError):
    """The service ended by itself."""


def run(arguments: ServeArguments, console: Console) -> None:
    """Serve until a signal comes.

    Raises:
        InputError: something cannot be used as it is.
        StoppedError: a signal came, and all that was started has ended.
    """
    import distributed.serving.app  # noqa: F401  # what is not installed is found before anything is started
    from distributed.cluster.interruption import interruptible
    from distributed.cluster.session import address_of_cluster, ray_session
    from mygo.service.keeper import Keeper

    own = address_of_cluster() is None
    settings = ServiceSettings.of(arguments, reserve=not own)
    port = free_port(arguments.host, arguments.port)
    with Keeper(settings.life, settings.service):
        pass  # what is wrong with the life is found before anything is started
    ended = threading.Event()
    console.print(plain(f"Starting Ray; the life is in {settings.life}"), style="dim")
    os.environ.setdefault(*ANSWERS_FIRST)
    with (
        quiet_end(arguments.verbose) as be_quiet,
        ray_session(verbose=arguments.verbose, variables=ONE_ARENA),
        interruptible(ended.set) as interruption,
        served(settings, arguments.host, port),
    ):
        if not ended.is_set():
            shown = "127.0.0.1" if arguments.host in EVERYWHERE else arguments.host
            console.print(plain(f"The life answers at http://{bracketed(shown)}:{port}"), soft_wrap=True)
        while not ended.wait(LOOK_SECONDS):
            check_there()
        be_quiet()
    stopped = StoppedError("Ended: what was taught is kept, and a lesson goes on at the next start.")
    stopped.exit_code = interruption.exit_code
    raise stopped


@contextmanager
def quiet_end(verbose: bool) -> Iterator[Callable[[], None]]:
    """Yield a function from whose call on, until the end of the block, stdout goes nowhere unless ``verbose``.

    Ray writes there that Serve's controller, which was to end itself, has ended.
    """
    with ExitStack() as stack, Path(os.devnull).open("w") as nowhere:

        def be_quiet() -> None:
            if not verbose:
                stack.enter_context(redirect_stdout(nowhere))

        yield be_quiet


@contextmanager
def served(settings: ServiceSettings, host: str, port: int) -> Iterator[None]:
    """Have Ray Serve answer at ``host`` and ``port`` inside the block.

    Raises:
        InputError: the cluster serves something already, or the service does not start.
    """
    from ray import serve
    from ray.serve.schema import LoggingConfig

    from distributed.cluster.session import first_line
    from distributed.serving.app import NAME, application

    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    if serve.status().proxies:
        raise InputError("This Ray cluster serves something already: end that with `serve shutdown`, or use another.")
    try:
        serve.start(
            http_options={"host": host, "port": port},
            logging_config=LoggingConfig(enable_access_log=False),
        )
        try:
            serve.run(application(settings), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise InputError(f"The service does not start ({first_line(error)}): --verbose shows why.") from error
        yield
    finally:
        serve.shutdown()


def check_there() -> None:
    """Make sure that Ray is there, which the operating system may have ended for lack of memory.

    Raises:
        ServiceLostError: it is not.
    """
    import ray
    from ray.exceptions import RayError

    try:
        there = any(node["Alive"] for node in ray.nodes())
    except (RayError, ConnectionError, RuntimeError):
        there = False
    if not there:
        raise ServiceLostError("Ray was lost: run the same command again; what was taught is kept.")


def free_port(host: str, port: int) -> int:
    """Return ``port``, or a free one for 0, once it is known that a server can listen there.

    Raises:
        InputError: it cannot.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port))
            return int(tried.getsockname()[1])
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error
        raise InputError(f"Nothing can listen at {host}, port {port} ({reason}): choose another --port.") from error


def bracketed(host: str) -> str:
    """Return ``host`` as addresses of pages have it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended

    def command() -> None:
        run(ServeArguments.parse(argv), new_console())

    return exit_code_of(command, "serve.py", "run it again to go on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
