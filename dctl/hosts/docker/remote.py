"""Containers on the engine of another machine, reached through its SSH tunnel.

The engine is asked as one of this machine is. Ports are that machine's: they are looked at, and
called, from there. What dctl keeps of the cluster (lock, journal, secrets, what it stopped on
purpose) is kept on that machine.
"""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts.attached import run_attached
from dctl.hosts.base import Check, Endpoint, Identify, PortOwner, Probe, nobody
from dctl.hosts.docker.client import Engine
from dctl.hosts.docker.host import DockerHost
from dctl.hosts.docker.reader import DockerReader
from dctl.hosts.ssh import Fleet
from dctl.hosts.state.keeping import Kept
from dctl.hosts.systemd.ask import Agent
from dctl.hosts.systemd.keeping import MachineKeeping, MachineMarks
from dctl.hosts.systemd.layout import Layout
from dctl.hosts.systemd.reader import SystemdReader


class RemoteDockerReader(DockerReader):
    """Observe the containers of `cluster` on the machine `host` of a fleet."""

    def __init__(
        self,
        cluster: str,
        *,
        workspace: Path,
        fleet: Fleet,
        host: str,
        engine: Engine | None = None,
        own: Identify = nobody,
    ) -> None:
        engine = engine or Engine(host, lambda: fleet.tunnel(host).base_url())
        super().__init__(cluster, workspace=workspace, host=host, engine=engine, own=own)
        self._fleet = fleet
        self._agent = Agent(fleet, host, Layout(cluster))
        self._marks = MachineMarks(self._agent)
        self._machine = SystemdReader(cluster, fleet=fleet, host=host, own=own)

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return self._publisher(endpoint) or self._machine.port_owner(endpoint)

    def free_port(self, address: str) -> int:
        return self._machine.free_port(address)

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return self._machine.reach(endpoint)

    def probe(self, check: Check) -> Probe:
        return self._exec(check) if check.type == "exec" else self._machine.probe(check)


class RemoteDockerHost(RemoteDockerReader, DockerHost):
    """Run the containers of one cluster on the engine of another machine."""

    @functools.cached_property
    def _keeping(self) -> Kept:
        return MachineKeeping(self._agent)

    def execute(self, name: str, argv: Sequence[str]) -> int:
        current = self._current(name)
        if not current.alive:
            raise DctlError(
                f"the container of {name} on {self.name} does not run",
                hint=f"dctl infra start {name}",
            )
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        options = ["--interactive", *(["--tty"] if terminal else [])]
        line = shlex.join(["docker", "exec", *options, current.id, *argv])
        return run_attached(self._fleet.tunnel(self.name).command(line, terminal=terminal))
