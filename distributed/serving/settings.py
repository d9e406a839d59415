"""What a service is started with: its flags, and what each of its parts is given of them."""

import hashlib
import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

import tyro

from distributed.command import OnRay, whole_range
from mygo.cli.flags import OptionalPath, OptionalText, parse_flags
from mygo.cli.remote import LOOPBACK, TOKEN_VARIABLE, token_from
from mygo.config.ranges import MOST_PROCESSES, MOST_STEPS, check_ranges
from mygo.errors import InputError
from mygo.service.config import LARGEST_INBOX, ExampleLimits, InboxLimits, ServiceConfig

SHORTEST_TOKEN = 16
"""Characters of a token; shorter ones could be guessed."""
MOST_PORTS = 65_535
EVERYWHERE = ("0.0.0.0", "::")
"""What a server is bound to that answers at all addresses of its machine."""
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII)
"""A Host header: an address of IPv6, or another name, and a port."""
DEFAULT = ServiceConfig()


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """What a single client may ask for."""

    max_body: int = 64 * 2**20
    """Bytes of a request's body."""
    max_inputs: int = 256
    """Inputs in one request."""
    rate: float = 50.0
    """Requests per second of one client, on average."""
    burst: int = 100
    """Requests of one client at once."""
    request_seconds: float = 60.0
    """Seconds in which a request must have arrived whole, and in which it is answered, or refused."""

    def __post_init__(self) -> None:
        check_ranges(self, "", max_body=(1024, LARGEST_INBOX), max_inputs=(1, MOST_STEPS), burst=(1, MOST_STEPS))
        check_ranges(self, "", rate=(0.001, MOST_STEPS), request_seconds=(0.1, MOST_STEPS))


@dataclass(frozen=True, kw_only=True)
class ServeArguments:
    """Put a life into service: it answers, is taught, and sleeps without stopping. See docs/service.md."""

    life: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the life, visible to all nodes; if there is none yet, the first lesson begins it."""
    host: str = "127.0.0.1"
    """Address to answer at. Any but this machine's own needs a token, in the environment as MYGO_TOKEN, or in
    --token-file."""
    port: int = 8000
    """Port to answer at; 0 takes a free one."""
    token_file: OptionalPath = None
    """File with the token that requests must show."""
    allow_host: tuple[str, ...] = ()
    """More names under which clients know this server, as a comma list. Other names are refused, so that no web page
    can reach it under its own."""
    replicas: str = "1"
    """Processes that answer: a number, or 1:4 for as many as there is work for."""
    num_workers: str = "1"
    """Training workers of a lesson: 1 teaches in one process; more, or a range such as 1:4, by Ray Train, which starts
    some 20 s later."""
    max_failures: int = 3
    """How often a lesson whose process is lost goes on from its last saved point."""
    sleep_at: OptionalText = None
    """HH:MM, local time: learn each day at this time what waits in the inbox."""
    sleep_after: int | None = None
    """Learn as soon as so many examples wait in the inbox."""
    encoder: str = DEFAULT.encoder
    """What a life that is not there yet will see through; one that is there keeps its own."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder, where it does not find them itself."""
    unknown: Annotated[float, tyro.conf.arg(metavar="SHARE")] = DEFAULT.unknown
    """Call an input unknown that looks like no class of the life. SHARE, from 0.001 to 0.5, is how many of the inputs
    of known classes may be called so by mistake; 0 calls none so."""
    unknown_below: Annotated[float, tyro.conf.arg(metavar="P")] = DEFAULT.unknown_below
    """Call an input unknown if its class has less than this probability, from 0 to 1."""
    drift_after: int = DEFAULT.drift_after
    """Test each time after so many inputs whether they have drifted from what was learned; 0 never does."""
    keep_versions: int = DEFAULT.keep_versions
    """Versions before the current one that are kept to roll back to."""
    held_out: float = DEFAULT.held_out
    """Share of each class's examples of a lesson that accuracy is measured on."""
    save_every: float = DEFAULT.save_every
    """Seconds between two points within a phase from which an interrupted lesson goes on; phases are always saved."""
    inbox: InboxLimits = field(default_factory=InboxLimits)
    examples: Annotated[ExampleLimits, tyro.conf.arg(name="")] = field(default_factory=ExampleLimits)
    limits: Annotated[RequestLimits, tyro.conf.arg(name="")] = field(default_factory=RequestLimits)
    verbose: bool = False
    """Show Ray's own log."""

    @classmethod
    def parse(cls, argv: Sequence[str]) -> "ServeArguments":
        """Return the arguments; exits with 2 on flags that do not exist or parse.

        Raises:
            InputError: a value is out of its range.
        """
        return parse_flags(cls, list(argv), "serve.py")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "ServeArguments":
        """Return the arguments that ``values`` give by their names, such as ``sleep_at``, as configuration files do.

        Raises:
            InputError: there is no such name, or a value does not parse.
        """
        known = {each.name for each in fields(cls)} | {each.name for each in fields(RequestLimits)}
        known |= {each.name for each in fields(ExampleLimits)} | {f"inbox.{each.name}" for each in fields(InboxLimits)}
        if unknown := sorted(set(values) - known):
            raise InputError(f"There is no setting {unknown[0]}: use the names of serve.py's flags.")
        argv = []
        for name, value in values.items():
            flag = f"--{name.replace('_', '-')}"
            if isinstance(value, bool):
                argv += [flag] if value else []
            elif value is not None:
                shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
                argv.append(f"{flag}={shown}")
        try:
            return cls.parse(argv)
        except SystemExit as error:
            raise InputError("A setting of this service does not parse: the lines above say which.") from error

    def check(self) -> None:
        """Refuse what cannot be meant, before anything is started.

        Raises:
            InputError: a flag is out of its range.
        """
        check_ranges(self, "", port=(0, MOST_PORTS), max_failures=(0, MOST_PROCESSES))
        self.service()
        whole_range(self.replicas, "--replicas")
        OnRay(num_workers=self.num_workers).check()

    def service(self) -> ServiceConfig:
        """Return the settings of the life in service.

        Raises:
            InputError: one is out of its range.
        """
        weights = self.encoder_weights
        return ServiceConfig(
            encoder=self.encoder,
            encoder_weights=None if weights is None else weights.resolve(),
            keep_versions=self.keep_versions,
            sleep_at=self.sleep_at,
            sleep_after=self.sleep_after,
            held_out=self.held_out,
            save_every=self.save_every,
            unknown=self.unknown,
            unknown_below=self.unknown_below,
            drift_after=self.drift_after,
            inbox=self.inbox,
            examples=self.examples,
        )

    def access(self) -> "Access":
        """Return who may ask.

        Raises:
            InputError: others than this machine could reach the server without a token; or the token is too short, or
                cannot be read.
        """
        token = token_from(self.token_file)
        if token is None and not is_loopback(self.host):
            raise InputError(
                f"--host {self.host} can be reached from elsewhere: set {TOKEN_VARIABLE}, or name a --token-file."
            )
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise InputError(f"The token has {len(token)} characters: take at least {SHORTEST_TOKEN}, at random.")
        names = {"localhost", *LOOPBACK, *(name.strip().lower() for name in self.allow_host)}
        if self.host in EVERYWHERE:
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        else:
            names.add(self.host.lower())
        return Access(
            host_names=frozenset(names - {""}),
            any_address=self.host in EVERYWHERE,
            token_digest=None if token is None else digest_of(token),
        )


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask a service, and under which of its names."""

    host_names: frozenset[str]
    """Names of this server, in lower case and without port."""
    any_address: bool = False
    """Whether it may also be called by any IP address, which no other site can take for its name."""
    token_digest: bytes | None = None
    """SHA-256 of the token; None if none is asked for. The token itself is nowhere kept."""

    def knows(self, host: str) -> bool:
        """Return whether ``host``, as a Host header has it, is a name of this server."""
        name = without_port(host).lower()
        return name in self.host_names or (self.any_address and is_address(name))


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the processes of a service are given."""

    life: Path
    service: ServiceConfig
    limits: RequestLimits
    access: Access
    replicas: tuple[int, int]
    """The fewest and the most processes that answer."""
    num_workers: str
    max_failures: int
    reserve: bool
    """Whether processes reserve cores: on a cluster that others use too, or that grows with what is reserved. On a
    machine of its own a service leaves them to the operating system, which gives answers the precedence."""

    @classmethod
    def of(cls, arguments: ServeArguments, *, reserve: bool) -> "ServiceSettings":
        """Return what ``arguments`` say.

        Raises:
            InputError: they cannot be meant.
        """
        arguments.check()
        return cls(
            life=arguments.life.resolve(),
            service=arguments.service(),
            limits=arguments.limits,
            access=arguments.access(),
            replicas=whole_range(arguments.replicas, "--replicas"),
            num_workers=arguments.num_workers,
            max_failures=arguments.max_failures,
            reserve=reserve,
        )


def digest_of(token: str | bytes) -> bytes:
    """Return what is kept of a token, and compared."""
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()


def is_address(name: str) -> bool:
    """Return whether ``name`` is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server at ``host``."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)


def without_port(host: str) -> str:
    """Return the name in ``host``, as a Host header has it: without port, and without the brackets of IPv6.

    It is empty for what is no such header (RFC 9110, section 7.2).
    """
    found = HOST.fullmatch(host)
    return found[1] or found[2] if found else ""
