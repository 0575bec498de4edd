"""Which variant of a spec is meant. Cheap to import: every command has one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Variant:
    """`environments` name the overlays, in the order in which they are merged over the spec;
    `profiles` are the active ones."""

    environments: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()

    def overlays(self, spec: Path) -> list[Path]:
        """The overlays' files, beside the spec: `cluster.yaml` has `cluster.<env>.yaml`."""
        return [
            spec.parent / f"{spec.stem}.{environment}{spec.suffix}"
            for environment in self.environments
        ]
