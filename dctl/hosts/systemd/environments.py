"""What programs run from on a machine, as a host of its own: it is there, or it is brought.

Named by its content and shared by all clusters of the machine, so nothing of it is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dctl.hosts.base import Kind, Observed, Resource, State
from dctl.hosts.passive import PassiveHost, PassiveReader
from dctl.hosts.ssh import Fleet
from dctl.hosts.systemd.bring import install
from dctl.hosts.systemd.reader import SystemdReader
from dctl.hosts.systemd.software import Software


def software_of(host: str) -> str:
    """The name of the host that is the software of a machine."""
    return f"{host}/software"


class SoftwareReader(PassiveReader):
    """Which of what is `wanted` (part -> what it runs from) stands on the machine, as `machine`
    has last seen it."""

    def __init__(
        self, cluster: str, machine: SystemdReader, wanted: Callable[[], Mapping[str, Software]]
    ) -> None:
        self.name = software_of(machine.name)
        self._cluster, self._machine, self._wanted = cluster, machine, wanted

    def observe(self) -> Sequence[Observed]:
        there = self._machine.facts()["environments"]
        return [
            Observed(
                Kind.SOFTWARE,
                software_name(self._machine.name, part, software),
                self.name,
                State.PRESENT,
                self._cluster,
                spec=software_spec(software),
            )
            for part, software in sorted(self._wanted().items())
            if all(one.digest in there for one in software.chain())
        ]


class SoftwareHost(SoftwareReader, PassiveHost):
    """Brings what is missing; `say` hears of it."""

    def __init__(
        self,
        cluster: str,
        machine: SystemdReader,
        wanted: Callable[[], Mapping[str, Software]],
        fleet: Fleet,
        say: Callable[[str], None],
    ) -> None:
        super().__init__(cluster, machine, wanted)
        self._fleet, self._say = fleet, say

    def ensure(self, resource: Resource) -> None:
        wanted = {one.folder: one for one in self._wanted().values()}
        host = self._machine.name
        self._say(f"bringing {resource.name}")
        install(self._fleet, host, wanted[resource.spec["folder"]])


def software_resource(host: str, part: str, software: Software) -> Resource:
    """What `part` runs from on a machine."""
    name, spec = software_name(host, part, software), software_spec(software)
    return Resource(Kind.SOFTWARE, name, software_of(host), part, spec)


def software_name(host: str, part: str, software: Software) -> str:
    """How it is called in a plan."""
    return f"{part}@{software.digest} on {host}"


def software_spec(software: Software) -> dict[str, str]:
    """What is asked of it is all in its folder's name."""
    return {"folder": software.folder}
