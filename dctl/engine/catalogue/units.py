"""Parts as systemd units of another machine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl.engine.catalogue.processes import ProcessSite
from dctl.engine.catalogue.site import Instance
from dctl.hosts.base import Json, Need
from dctl.hosts.systemd.environments import software_name
from dctl.hosts.systemd.layout import OPT
from dctl.hosts.systemd.software import Software
from dctl.spec.core import CorePart

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

    def spec(self, one: Instance) -> Mapping[str, Json]:
        software = self.software.get(one.service)
        # Where it runs from is named by its content, so its code needs no digest of its own.
        cwd = Path(software.cwd) if software else None
        program = dataclasses.replace(one.program, cwd=cwd, source="")
        return super().spec(dataclasses.replace(one, program=program))

    def stands_on(self, one: Instance) -> tuple[Need, ...]:
        name = CORE if isinstance(one.part, CorePart) else one.service
        software = self.software.get(name)
        return (Need(software_name(self.host, name, software)),) if software else ()

    def _folder(self, part: str) -> str:
        software = self.software.get(part)
        return software.folder if software else f"{OPT}/unknown"
