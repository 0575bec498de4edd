"""Machines that are reached already: their host keys accepted, and a fleet over them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.systemd import SystemdHost
from tests.support.machines import Machine, machines


@dataclass
class Remote:
    """One machine of a fleet. `name` is that of the cluster at hand."""

    machine: Machine
    fleet: Fleet
    name: str = ""

    @contextmanager
    def cluster(self) -> Iterator[SystemdHost]:
        """A cluster of its own on the machine, gone afterwards."""
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        host = SystemdHost(self.name, fleet=self.fleet, host=self.machine.name)
        try:
            yield host
        finally:
            host.clean(full=True)


@contextmanager
def remotes(folder: Path, *names: str) -> Iterator[tuple[Remote, ...]]:
    """Machines with those names, reached as the user deploy."""
    known = KnownHosts(folder / "known_hosts")
    with machines(folder, *names) as made:
        for machine in made:
            machine.accept(known)
        targets = [machine.target() for machine in made]
        with Fleet(targets, known=known, connect_timeout=5) as fleet:
            yield tuple(Remote(machine, fleet) for machine in made)
