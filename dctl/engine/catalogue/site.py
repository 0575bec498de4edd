"""What a part may know of the cluster around it, and the program as which it describes itself.

The parts are written once; a `Site` says how one of them becomes a resource of a runtime: where
it listens and is called, where its files stand, and what its command line is there.
"""

from __future__ import annotations

import io
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dctl.engine.ports import PortBook
from dctl.hosts.base import Check, Endpoint, Json, Kind, Need, Resource, Rollout
from dctl.hosts.ports import ANYWHERE, reachable
from dctl.secrets.references import secret_name
from dctl.spec import Cluster
from dctl.spec.core import Nats
from dctl.spec.workload import Health, Service, Workload

NONCE_VARIABLE = "DRAFT_NONCE_FILE"
"""The variable that names the file of the cluster's own secret."""
NONCE = "nonce"
"""The cluster's own secret, which whoever joins has to know, unless the spec names another one."""
TLS_VARIABLE = "DRAFT_TLS_FILE"
"""The variable that names the file with a key and certificate, of all that encrypts."""
AUTHORITY = "authority"
"""The secret that is the cluster's certificate authority, which no program gets."""
ENGINE = "engine"
"""The secret that holds the engine's password."""
OBJECTS = "objects"
"""The secret with the password of those who keep objects in the engine, and can do nothing else."""


@dataclass(frozen=True, slots=True)
class Port:
    """One port of one instance: what the spec wishes, where the program `bind`s, where the others
    of the cluster `call` it, and where it is reached from `here`, where dctl runs."""

    wish: Endpoint
    bind: Endpoint
    call: Endpoint
    here: Endpoint

    @property
    def target(self) -> Endpoint:
        """The address that dctl itself calls."""
        return reachable(self.here)


@dataclass(frozen=True, slots=True)
class Program:
    """One instance of a part, whatever runs it.

    `argv` may be empty where an image brings its own. `files` are written into the instance's own
    folder (name -> text). `cwd` is a folder of the workspace, None for the instance's own data.
    `image` is a user's image; `source` is the digest of the program's own code. `volumes` (short
    name -> path) outlive a container, `mounts` (path -> text) are files in one. `stop_signal` asks
    it to end. One of the `engine` reads the engine's secret, one with `objects` that of their user.
    """

    argv: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, Port] = field(default_factory=dict)
    check: Check | None = None
    needs: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    image: str = ""
    source: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    engine: bool = False
    objects: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance of a `part`: of `service`, which is the part's name. `needs` are those of its
    program and those of the spec."""

    name: str
    service: str
    part: Workload
    program: Program
    needs: tuple[Need, ...]


@dataclass(frozen=True, kw_only=True)
class Site(ABC):
    """The place that parts are built for: one host of one cluster, under one runtime.

    `address` is where the other hosts reach this one, "" when there are none; what is to be called
    by others listens there, unless the spec names an address. `variables` are environment
    variables of all that is placed there. The services in `own_nonces` have a nonce of their own.
    """

    kind: ClassVar[Kind]

    host: str
    ports: PortBook
    address: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    own_nonces: frozenset[str] = frozenset()

    @property
    @abstractmethod
    def nonce(self) -> str:
        """The file of the cluster's secret as programs see it; "" where any nonce is accepted."""

    @abstractmethod
    def nonce_of(self, service: str) -> str:
        """The file of the secret with which a service joins; "" where any nonce is accepted."""

    @abstractmethod
    def identity_of(self, service: str) -> str:
        """The file of a service's key and certificate as its programs see it."""

    @property
    @abstractmethod
    def engine_secret(self) -> str:
        """The file of the engine's secret as programs see it."""

    @property
    @abstractmethod
    def objects_secret(self) -> str:
        """The file of the secret of those who keep objects there."""

    @abstractmethod
    def secret(self, instance: str, name: str) -> str:
        """The file in which an instance reads a secret of the spec."""

    @abstractmethod
    def files(self, instance: str) -> str:
        """The folder of what dctl writes for an instance, as its program sees it."""

    @abstractmethod
    def data(self, instance: str) -> str:
        """The folder of what an instance keeps."""

    @abstractmethod
    def port(self, instance: str, name: str, wish: Endpoint, target: int = 0) -> Port:
        """One port of an instance; `target` is the port in a container, 0 for any."""

    @abstractmethod
    def binary(self, name: str) -> str:
        """The path of "nats-server" or "envoy"."""

    @abstractmethod
    def module(self, name: str) -> tuple[str, ...]:
        """The command line that runs one of our own Python modules."""

    @abstractmethod
    def main(self, service: str, folder: Path) -> tuple[str, ...]:
        """The command line of a user's service folder."""

    @abstractmethod
    def spec(self, one: Instance) -> Mapping[str, Json]:
        """What is asked of it: the shape of its kind."""

    def named(self, instance: str) -> str:
        """What an instance calls itself in its own configuration."""
        return instance

    def stands_on(self, one: Instance) -> tuple[Need, ...]:
        """What it runs from, where that is a resource of its own."""
        return ()

    def check(self, one: Instance) -> Check | None:
        """How its health is asked for."""
        return one.program.check

    def place(self, one: Instance) -> Resource:
        """The resource that runs it."""
        return Resource(
            kind=self.kind,
            name=one.name,
            host=self.host,
            service=one.service,
            spec=self.spec(one),
            ports={name: port.here for name, port in one.program.ports.items()},
            needs=(*self.stands_on(one), *one.needs),
            check=self.check(one),
            rollout=rollout_of(one.part),
        )

    def env(self, part: Workload, instance: str, program: Program) -> dict[str, str]:
        """What is in its environment: the spec's own word on it wins. Of a secret it is told the
        file, as NAME_FILE: an environment is inherited, listed and dumped."""
        env = {**self.variables, **program.env}
        for variable, value in part.env.items():
            if name := secret_name(value):
                env.pop(variable, None)
                env[f"{variable}_FILE"] = self.secret(instance, name)
            else:
                env[variable] = value
        return env

    def called(self, endpoint: Endpoint) -> Endpoint:
        """The address that others of the cluster call for something that listens there."""
        if self.address and endpoint.host in ANYWHERE:
            return Endpoint(self.address, endpoint.port)
        return reachable(endpoint)


def own_nonces(cluster: Cluster) -> frozenset[str]:
    """The services that are given a nonce of their own instead of the cluster's, so that they can
    prove who they are and call themselves nothing else."""
    return frozenset(cluster.services if cluster.security.calls == "token" else ())


def own_nonce(service: str) -> str:
    """The secret that is a service's own nonce."""
    return f"{NONCE}-{service}"


def own_identity(service: str) -> str:
    """The secret that is a service's key and certificate."""
    return f"tls-{service}"


def is_for(secret: str, service: str) -> bool:
    """Whether programs of a service are given that secret of the cluster's own."""
    own = (own_nonce(service), own_identity(service))
    return secret in own or not secret.startswith((own_nonce(""), own_identity("")))


def encrypts(spec: Mapping[str, Json] | None) -> bool:
    """Whether what runs with that, of whatever kind, speaks to others by TLS."""
    return TLS_VARIABLE in ((spec or {}).get("env") or {})


def engine_secret(name: str = ENGINE) -> str:
    """A new password of the engine, in words of its nodes' configuration."""
    return f'{name}: "{secrets.token_urlsafe(32)}"\n'


def digests_of(part: Workload) -> dict[str, str]:
    """The secrets that a part is given. Their digests are filled in when they are known."""
    names = sorted(filter(None, map(secret_name, part.env.values())))
    return dict.fromkeys(names, "")


def rollout_of(part: Workload) -> Rollout:
    """How the spec wants the replicas of a part exchanged."""
    update = part.update
    # What may register under its instance's name, or keeps something, cannot be there twice.
    alone = not isinstance(part, Service) or part.run or part.volumes
    overlap = update.order == "start-first" and not alone
    quorum = isinstance(part, Nats) and part.replicas > 1
    return Rollout(
        parallel=1 if quorum else update.parallel,
        auto_rollback=update.auto_rollback,
        monitor=update.monitor,
        overlap=overlap,
        quorum=quorum,
    )


def health_check(health: Health, ports: Mapping[str, Port], service: str = "") -> Check | None:
    """The spec's `health` on the ports that an instance got. `service` is what its gRPC port proves
    to be, where it encrypts."""
    timing: dict[str, Any] = {
        "interval": health.interval,
        "timeout": health.timeout,
        "retries": health.retries,
        "start": health.start,
    }
    if health.exec:
        return Check("exec", argv=health.exec, **timing)
    named = health.port or next(iter(ports), "")
    if named not in ports:
        return None
    target = ports[named].target
    if health.http:
        return Check("http", f"http://{target}{health.http}", **timing)
    if health.grpc:
        return Check("grpc", str(target), service=service, **timing)
    return Check("tcp", str(target), **timing)


def to_yaml(document: Mapping[str, Any]) -> str:
    """A configuration file's text; keys keep their order."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(_plain(document), text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    for kind in (bool, int, float, str):  # drops what subclasses remember of their writing
        if isinstance(value, kind):
            return kind(value)
    return value
