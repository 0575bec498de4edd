"""What is asked of one process: the shape of `Resource.spec` for kind "process"."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, cast

from dctl.errors import DctlError
from dctl.hosts.base import Json

RestartWhen = Literal["always", "on-failure", "never"]

# Those that supervisor can send to end a program.
_SIGNALS = ("TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A program and how it is kept running.

    `files` are written with mode 0600 into `instance_dir` (relative path -> content). `source` is a
    digest of the program's own code: only compared. `digests` are the secrets that it is given by
    name, and a keyed digest of the value of each; `shared` are the same of those that it reads in
    files of its host that others read too: only compared. `backoff` is the shortest and the longest
    wait (seconds) before it is started again; after `stop_timeout` seconds a stop becomes SIGKILL.
    `ports` are wishes, "host:port" with 0 for any; what was picked is in `Resource.ports`.
    `memory` (bytes) and `cpus` are the most that it may use, where the host can see to that.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    cwd: str = ""
    source: str = ""
    restart: RestartWhen = "on-failure"
    backoff: tuple[float, float] = (1.0, 30.0)
    stop_signal: str = "TERM"
    stop_timeout: float = 10.0
    ports: Mapping[str, str] = field(default_factory=dict)
    memory: int | None = None
    cpus: float | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.argv:
            raise DctlError("a process needs a command to run")
        if self.stop_signal not in _SIGNALS or not hasattr(signal, f"SIG{self.stop_signal}"):
            raise DctlError(
                f'a process cannot be stopped with "{self.stop_signal}"',
                hint=f"one of {', '.join(_SIGNALS)}",
            )
        for path in self.files:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                raise DctlError(f'the file "{path}" would stand outside of the process\'s folder')

    def to_json(self) -> dict[str, Json]:
        """The mapping that is stored, compared and hashed."""
        return {
            "argv": list(self.argv),
            "env": dict(self.env),
            "files": dict(self.files),
            "cwd": self.cwd,
            "source": self.source,
            "restart": {
                "when": self.restart,
                "min": float(self.backoff[0]),
                "max": float(self.backoff[1]),
            },
            "stop": {"signal": self.stop_signal, "timeout": float(self.stop_timeout)},
            "ports": dict(self.ports),
            "memory": self.memory,
            "cpus": self.cpus,
            "digests": dict(self.digests),
            "shared": dict(self.shared),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> ProcessSpec:
        """The inverse of `to_json`; only the command is required."""
        restart, stop = value.get("restart") or {}, value.get("stop") or {}
        cpus = value.get("cpus")
        return cls(
            argv=tuple(value.get("argv") or ()),
            env=value.get("env") or {},
            files=value.get("files") or {},
            cwd=value.get("cwd") or "",
            source=value.get("source") or "",
            restart=cast(RestartWhen, restart.get("when", "on-failure")),
            backoff=(float(restart.get("min", 1.0)), float(restart.get("max", 30.0))),
            stop_signal=stop.get("signal", "TERM"),
            stop_timeout=float(stop.get("timeout", 10.0)),
            ports=value.get("ports") or {},
            memory=value.get("memory"),
            cpus=None if cpus is None else float(cpus),
            digests=value.get("digests") or {},
            shared=value.get("shared") or {},
        )
