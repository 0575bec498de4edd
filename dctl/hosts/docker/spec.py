"""What is asked of one container: the shape of `Resource.spec` for kind "container"."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, cast
from urllib.parse import quote

from dctl.errors import DctlError
from dctl.hosts.base import Endpoint, Json

RestartWhen = Literal["always", "on-failure", "never"]
OUR_NETWORK = "cluster"
SECRETS = "/run/draft/secrets"
"""Where the volume of a container's secrets is, inside: it has no name and ends with it."""


def lies(path: str) -> str:
    """Where the secret that is asked for at `path` lies: in that volume. The path is a link."""
    if path.startswith(f"{SECRETS}/"):
        return path
    return f"{SECRETS}/.at/{quote(path.lstrip('/'), safe='')}"


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port of the container, and where the host offers it: "host:port" with 0 for any. Without
    a host it is 127.0.0.1: what an engine publishes goes past the machine's firewall."""

    container: int
    publish: str = "0"

    def __post_init__(self) -> None:
        port = self.publish.rpartition(":")[2]
        if not port.isdecimal() or int(port) > 65_535 or not 0 < self.container <= 65_535:
            raise DctlError(f"port {self.container} cannot be published at {self.publish!r}")

    @property
    def wish(self) -> Endpoint:
        host, _, port = self.publish.rpartition(":")
        return Endpoint(host.strip("[]") or "127.0.0.1", int(port))


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """An image and how it is run.

    `files` (absolute path -> content) and `secrets` (absolute path -> secret://name, or the name of
    one that dctl keeps itself) are put into the container before it starts, mode 0600 for the user
    that it runs as. `digests` has a keyed digest of the value of each secret://name.
    `volumes` (short name -> path) outlive the container. `ports` are wishes; what was picked is in
    `Resource.ports`. `aliases` are names on the cluster's network besides the instance's own.
    An empty `command` or `user` is the image's. `source` is a digest of what cannot be seen: only
    compared. `retries` bounds the starts after a failure, 0 does not. After `stop_timeout` seconds
    a stop becomes SIGKILL. `memory` is in bytes.
    """

    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, PublishedPort] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    restart: RestartWhen = "on-failure"
    retries: int = 0
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    memory: int | None = None
    cpus: float | None = None
    user: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        if not self.image:
            raise DctlError("a container needs an image")
        if not hasattr(signal, f"SIG{self.stop_signal}"):
            raise DctlError(f'a container cannot be stopped with "{self.stop_signal}"')
        if twice := self.files.keys() & self.secrets.keys():
            raise DctlError(f'"{min(twice)}" is asked for as a file and as a secret')
        _absolute("file", self.files)
        _absolute("secret", self.secrets)
        _absolute("volume", self.volumes.values())

    def to_json(self) -> dict[str, Json]:
        """The mapping that is stored, compared and hashed."""
        return {
            "image": self.image,
            "command": list(self.command),
            "env": dict(self.env),
            "files": dict(self.files),
            "secrets": dict(self.secrets),
            "digests": dict(self.digests),
            "volumes": dict(self.volumes),
            "ports": {
                name: {"container": port.container, "publish": port.publish}
                for name, port in self.ports.items()
            },
            "network": OUR_NETWORK,  # always; what is seen may be another
            "aliases": sorted(self.aliases),
            "restart": {"when": self.restart, "max": self.retries},
            "stop": {"signal": self.stop_signal, "timeout": float(self.stop_timeout)},
            "memory": self.memory,
            "cpus": self.cpus,
            "user": self.user,
            "source": self.source,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> ContainerSpec:
        """The inverse of `to_json`; only the image is required."""
        restart, stop = value.get("restart") or {}, value.get("stop") or {}
        cpus = value.get("cpus")
        return cls(
            image=value.get("image") or "",
            command=tuple(value.get("command") or ()),
            env=value.get("env") or {},
            files=value.get("files") or {},
            secrets=value.get("secrets") or {},
            digests=value.get("digests") or {},
            volumes=value.get("volumes") or {},
            ports={
                name: PublishedPort(port["container"], port.get("publish", "0"))
                for name, port in (value.get("ports") or {}).items()
            },
            aliases=tuple(value.get("aliases") or ()),
            restart=cast(RestartWhen, restart.get("when", "on-failure")),
            retries=int(restart.get("max", 0)),
            stop_signal=stop.get("signal", "TERM"),
            stop_timeout=float(stop.get("timeout", 10.0)),
            memory=value.get("memory"),
            cpus=None if cpus is None else float(cpus),
            user=value.get("user") or "",
            source=value.get("source") or "",
        )


def _absolute(what: str, paths: Iterable[str]) -> None:
    for path in paths:
        if not PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise DctlError(f'the {what} "{path}" needs an absolute path in the container')
