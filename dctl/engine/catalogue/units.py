"""Parts as systemd units of another machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl.engine.catalogue.processes import ProcessSite
from dctl.engine.catalogue.site import Program
from dctl.hosts.base import Need, Resource
from dctl.hosts.systemd.environments import software_name
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software
from dctl.spec.core import CorePart
from dctl.spec.workload import Workload

CORE = "core"


@dataclass(frozen=True, kw_only=True)
class UnitSite(ProcessSite):
    """`software` is what each part runs from there, our own parts as "core". It is empty while the
    machine does not answer: then nobody can tell, and nothing that is built here is carried out.
    """

    software: Mapping[str, Software]

    def binary(self, name: str) -> str:
        return f"{self._folder(CORE)}/bin/{name}"

    def module(self, name: str) -> tuple[str, ...]:
        return (f"{self._folder(CORE)}/bin/python", "-P", "-m", name)

    def main(self, service: str, folder: Path) -> tuple[str, ...]:
        software = self.software.get(service)
        return software.argv if software else (f"{OPT}/unknown",)

    def place(
        self,
        part: Workload,
        service: str,
        instance: str,
        program: Program,
        needs: tuple[Need, ...],
    ) -> Resource:
        name = CORE if isinstance(part, CorePart) else service
        software = self.software.get(name)
        # Where it runs from is named by its content, so its code needs no digest of its own.
        cwd = Path(software.cwd) if software and name != CORE else None
        program = dataclasses.replace(program, cwd=cwd, source="")
        if software:
            needs = (Need(software_name(self.host, name, software)), *needs)
        return super().place(part, service, instance, program, needs)

    def _folder(self, part: str) -> str:
        software = self.software.get(part)
        return software.folder if software else f"{OPT}/unknown"
