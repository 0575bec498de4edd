"""Backing services: entries of the catalogue under blueprints/backing/, or any image."""

from __future__ import annotations

from pathlib import Path

from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.site import Program, health_check
from dctl.hosts.base import Resource
from dctl.secrets.references import is_reference
from dctl.spec.workload import Backing


def backing_resource(ground: Ground, name: str, part: Backing) -> Resource:
    """The one instance of a backing service, `completed` from the catalogue."""
    instance = f"{name}-1"
    ports = {
        f"port-{number}": ground.port(instance, f"port-{number}", wish)
        for number, wish in enumerate(part.ports, 1)
    }
    program = Program(
        argv=part.command,
        ports=ports,
        check=health_check(part.health, ports) if part.health else None,
        volumes=part.volumes,
        mounts={target: read(ground.root, source) for target, source in part.files.items()},
        image=part.image or "",
    )
    return ground.place(name, instance, program)


def read(root: Path, source: str) -> str:
    """The text of a file of the workspace; a secret stays a reference."""
    if is_reference(source):
        return source
    return (root / source).read_text(encoding="utf-8")
