"""The words that hosts and engine share.

A `Resource` is one thing that the spec asks for on one host, an `Observed` is one thing that is
really there, and both carry the same `spec` mapping, so that one function can compare them field
by field. A host has two faces: `Reader` looks, `Host` also changes. The planner is given readers
only, which is how "planning cannot write" holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from chassis.tls import Identity

Json = Any
"""A JSON value: None, bool, int, float, str, list, dict."""


class Kind(StrEnum):
    """What a resource is; one host class per kind knows how to observe and run it."""

    PROCESS = "process"
    CONTAINER = "container"
    IMAGE = "image"
    SOFTWARE = "software"
    ROUTE = "route"


RUNNING_KINDS = (Kind.PROCESS, Kind.CONTAINER)
"""What runs programs."""

RUN_FROM = (Kind.IMAGE, Kind.SOFTWARE)
"""What programs run from: named by its content, and shared."""


class Condition(StrEnum):
    """What a resource waits for in another one before it is started."""

    STARTED = "started"
    HEALTHY = "healthy"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Need:
    """`resource` (an instance's name) has to fulfil `condition` first."""

    resource: str
    condition: Condition = Condition.HEALTHY


@dataclass(frozen=True, slots=True)
class Check:
    """How health is asked for. Times in seconds.

    `target` is "host:port" for grpc and tcp, a URL for http. exec runs `argv`: in the container of
    the instance named by `target`, where the host has containers. With a `service` grpc is
    encrypted, and whoever answers has to prove to be that one.
    A resource is unhealthy after `retries` failures in a row; failures during the first `start`
    seconds do not count.
    """

    type: Literal["grpc", "http", "tcp", "exec"]
    target: str = ""
    argv: tuple[str, ...] = ()
    interval: float = 1.0
    timeout: float = 2.0
    retries: int = 3
    start: float = 30.0
    service: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address on which a resource listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the replicas of a service are exchanged: `parallel` at once, put back when it fails
    (`auto_rollback`), and with a `stand_in` that serves meanwhile, if one can. It has failed, too,
    when one does not stay well for `monitor` seconds after the last exchange. With `overlap` a
    replica that moves may run on both hosts for a while. Replicas of a `quorum` need more than half
    of each other: one is touched only while all others are well."""

    parallel: int = 1
    auto_rollback: bool = False
    stand_in: Resource | None = None
    monitor: float = 0.0
    overlap: bool = False
    quorum: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that the spec asks for on one host.

    `spec` is canonical JSON: all that decides whether what runs is what was asked, and nothing
    else (health checks and needs are dctl's own business and are left out). The shape for each
    kind is in the host of that kind (`dctl.hosts.process.ProcessSpec`,
    `dctl.hosts.docker.ContainerSpec`, `dctl.hosts.routes`).
    """

    kind: Kind
    name: str
    host: str
    service: str
    spec: Mapping[str, Json]
    ports: Mapping[str, Endpoint] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    check: Check | None = None
    rollout: Rollout | None = None

    @property
    def digest(self) -> str:
        return spec_digest(self.spec)


Key = tuple[str, Kind, str]
"""A place for one thing: its host, its kind and its name."""


class _Placed(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def name(self) -> str: ...


def key_of(thing: _Placed) -> Key:
    """The place of a resource, of what was seen, or of a step."""
    return thing.host, thing.kind, thing.name


def machine_of(host: str) -> str:
    """The machine that a host is on: what belongs to one is a host named <machine>/<what>."""
    return host.partition("/")[0]


class State(StrEnum):
    """What a thing on a host is doing."""

    RUNNING = "running"
    STARTING = "starting"  # started, or waiting out its back-off
    STOPPED = "stopped"  # not running, though it should
    HELD = "held"  # stopped on purpose by `dctl infra stop`: not drift
    COMPLETED = "completed"  # a job that ended with success
    FAILED = "failed"  # given up by its supervisor
    PRESENT = "present"  # there, and nothing that could run: an image


@dataclass(frozen=True, slots=True)
class Observed:
    """One thing that is really there.

    `spec` is what was asked of the thing *as it runs now*, None when it can't be told. `owner` is
    the cluster it belongs to, "" for somebody else's. `started` is seconds since the epoch.
    `ports` are the ports it listens on, picked ones included.
    """

    kind: Kind
    name: str
    host: str
    state: State
    owner: str
    service: str = ""
    spec: Mapping[str, Json] | None = None
    ports: Mapping[str, Endpoint] = field(default_factory=dict)
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """The answer of one health check: ok, or why not in one sentence."""

    ok: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PortOwner:
    """Who listens on a port: a process, as far as the system lets us see it."""

    pid: int
    name: str


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lock of a cluster: `since` in seconds since the epoch, `silent` for how many
    seconds nothing was heard of them. `pid` 0 when it is not known."""

    name: str
    pid: int
    since: float
    silent: float


class Lease(Protocol):
    """The lock while one has it."""

    def lost(self) -> str:
        """Why the lock is no longer ours, in one sentence; "" while it is."""


class Secrets(Protocol):
    """What a host asks for the values that it delivers: they are in no resource."""

    def text(self, name: str, digest: str) -> str:
        """The value with this digest. Raises DctlError when it cannot be had (any more)."""

    def remember(self, name: str, digest: str, text: str) -> None:
        """An older value that is about to go: what uses it may be put back."""


Identify = Callable[[], "Identity | None"]
"""Who dctl is to what encrypts; None while nothing does."""


def nobody() -> Identity | None:
    """For a host on which nothing encrypts."""
    return None


class Reader(Protocol):
    """The looking face of a host. Nothing reachable from here changes anything."""

    name: str

    def observe(self) -> Sequence[Observed]:
        """Everything of this cluster on this host, in the order of names.

        Raises UnreachableError when the host cannot be asked.
        """

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        """Who holds the port now; None when it is free."""

    def free_port(self, address: str) -> int:
        """A port that nobody holds now on `address`."""

    def reach(self, endpoint: Endpoint) -> Endpoint:
        """Where what listens there on the host is reached from this machine."""

    def probe(self, check: Check) -> Probe:
        """Ask once, within `check.timeout`."""

    def given(self, name: str) -> Mapping[str, str]:
        """The values of the secrets that were delivered to `name`, as far as they are there."""

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        """The last `lines` lines of what `name` printed (newline stripped); then, with follow,
        each further one as it comes, across restarts and log rotation."""


class Books(Protocol):
    """What is kept of a cluster on one host: its secrets, its lock, its hosts,
    and what was done to it."""

    def keep_secret(self, name: str, text: str = "") -> None:
        """Keep a secret under that name, in a file that only its owner reads: `text`, else
        something random that is made once."""

    def secret(self, name: str) -> str:
        """A secret that is kept there; "" when there is none."""

    def lock(self, holder: str) -> AbstractContextManager[Lease]:
        """The cluster's apply lock; raises LockedError that names the holder and since when.

        It is free when its holder is dead, or has been silent for too long."""

    def holder(self) -> Holder | None:
        """Who has the lock now."""

    def break_lock(self) -> None:
        """Take the lock from whoever has it; their lease tells them before their next step."""

    def record(self, entry: Mapping[str, Json]) -> None:
        """Append one entry to the cluster's journal, durably."""

    def journal(self) -> Sequence[Mapping[str, Json]]:
        """The entries of the journal, oldest first. Very old ones may be gone."""

    def keep_release(self, release: Mapping[str, Json]) -> None:
        """Keep what the cluster was asked for when it last was well, durably, under its "id" (a
        number). The oldest go when there are many."""

    def releases(self) -> Sequence[Mapping[str, Json]]:
        """What was kept, oldest first."""

    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        """Keep how each host of the cluster is reached, durably, instead of what was kept."""

    def machines(self) -> Mapping[str, Json]:
        """The notes that are kept of the cluster's hosts."""


class Host(Reader, Books, Protocol):
    """The changing face of a host. Each verb is idempotent and returns once it is carried out
    (not once the thing is healthy). Errors are DctlErrors that name thing and host."""

    def ensure(self, resource: Resource) -> None:
        """Make `resource` be there and run as asked: create it, or restart it with its new spec."""

    def start(self, name: str) -> None:
        """Start what is held or stopped, as it was asked before."""

    def stop(self, name: str) -> None:
        """End it gracefully and hold it: it stays stopped until start or ensure."""

    def restart(self, name: str) -> None:
        """End it gracefully and start it again."""

    def remove(self, name: str) -> None:
        """End it and forget it. Its data stays."""

    def execute(self, name: str, argv: Sequence[str]) -> int:
        """Run a command beside `name`, in its environment and folder, on the terminal or the pipes
        that dctl itself has; returns its exit code, 128 + n when signal n ended it."""

    def down(self) -> None:
        """Stop everything and whatever supervises it; data and what was asked stay."""

    def clean(self, *, full: bool) -> None:
        """Remove everything that runs and what was asked; with `full` also data, logs, journal:
        nothing of the cluster is left."""


def spec_digest(spec: Mapping[str, Json]) -> str:
    """A short name for what was asked: equal specs have equal digests."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
