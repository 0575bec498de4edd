"""systemd units on another machine."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from dctl.engine.catalogue.site import NONCE, Site, own_nonces
from dctl.engine.catalogue.units import CORE, UnitSite
from dctl.engine.ports import PortBook
from dctl.engine.runtimes.base import Restored, Say, Settled
from dctl.hosts.base import Host, Kind, Reader, Resource
from dctl.hosts.ssh import Fleet
from dctl.hosts.systemd import Layout, SystemdHost, SystemdReader
from dctl.hosts.systemd.environments import SoftwareHost, SoftwareReader, software_resource
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software, core_software, run_software
from dctl.secrets.references import secret_name
from dctl.spec.core import CorePart
from dctl.spec.workload import Service
from dctl.workspace import generated


class Units:
    """One machine of the fleet."""

    def __init__(self, settled: Settled, say: Say, fleet: Fleet) -> None:
        self._settled, self._say, self._fleet = settled, say, fleet
        self._name, self._host = settled.cluster.name, settled.host
        self._reader = SystemdReader(self._name, fleet=fleet, host=self._host, own=settled.own)

    def readers(self) -> Mapping[str, Reader]:
        software = SoftwareReader(self._name, self._reader, self._wanted)
        return {self._host: self._reader, software.name: software}

    def hosts(self) -> Mapping[str, Host]:
        software = SoftwareHost(self._name, self._reader, self._wanted, self._fleet, self._say)
        own = SystemdHost(self._name, fleet=self._fleet, host=self._host, own=self._settled.own)
        own.secrets = self._settled.secrets
        return {self._host: own, software.name: software}

    def site(self, ports: PortBook) -> Site:
        layout = Layout(self._name)
        return UnitSite(
            host=self._host,
            ports=ports,
            address=self._settled.address,
            variables=self._settled.variables,
            files_of=lambda instance: Path(layout.files(instance)),
            data_of=lambda instance: Path(layout.data(instance)),
            secret_of=lambda instance, name: Path(layout.credential(instance, name)),
            own_nonces=own_nonces(self._settled.cluster),
            secret_file=lambda name: Path(layout.secret(name)),
            nonce_file=Path(layout.secret(NONCE)) if self._settled.nonce_from else None,
            nonce_name=secret_name(self._settled.nonce_from),
            software=self._wanted(),
        )

    def resources(self) -> list[Resource]:
        return [
            software_resource(self._host, part, software)
            for part, software in self._wanted().items()
        ]

    def let_go(self, needed: Sequence[Resource]) -> None:
        """The machine's old software is let go when new one is brought."""

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """All of it is in the software, if that is still there; today's is no part of it."""
        there = {f"{OPT}/{name}" for name in self._reader.facts()["environments"]}
        today = {software.folder for software in self._wanted().values()}
        old = [r for r in resources if r.kind is Kind.SOFTWARE and r.spec["folder"] not in today]
        return Restored(
            tuple(r for r in resources if r not in old),
            lacking=tuple(
                f"{resource.name} is no longer there"
                for resource in old
                if resource.spec["folder"] not in there
            ),
        )

    def _wanted(self) -> Mapping[str, Software]:
        """What the parts run from there; nothing while the machine has not answered."""
        return self._made if self._reader.known else {}

    @functools.cached_property
    def _made(self) -> Mapping[str, Software]:
        parts = self._settled.parts
        facts, root = self._reader.facts(), self._settled.root
        api = generated(root)
        made = {
            name: run_software(facts, root / part.run, cluster=self._name, service=name, api=api)
            for name, part in parts.items()
            if isinstance(part, Service) and part.run
        }
        if any(isinstance(part, CorePart) for part in parts.values()):
            made[CORE] = _core(facts["python"], facts["machine"], facts["glibc"])
        return made


@functools.cache  # machines are alike, mostly
def _core(python: str, machine: str, glibc: int) -> Software:
    return core_software({"python": python, "machine": machine, "glibc": glibc})
