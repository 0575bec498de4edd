"""Backing services: entries of the catalogue under blueprints/backing/, or any image."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from dctl import bundled
from dctl.engine.catalogue.site import Program, Site, health_check
from dctl.hosts.base import Resource
from dctl.spec.workload import Backing


def backing_resource(site: Site, name: str, asked: Backing) -> Resource:
    """The one instance of a backing service."""
    part = completed(asked)
    instance = f"{name}-1"
    ports = {
        f"port-{number}": site.port(instance, f"port-{number}", wish)
        for number, wish in enumerate(part.ports, 1)
    }
    program = Program(
        argv=part.command,
        ports=ports,
        check=health_check(part.health, ports) if part.health else None,
        volumes=part.volumes,
        mounts={target: read(site.root, source) for target, source in part.files.items()},
        image=part.image or "",
    )
    return site.place(part, name, instance, program)


def completed(asked: Backing) -> Backing:
    """What the spec says over what the catalogue says; `env` is merged, the rest replaced."""
    if asked.source is None:
        return asked
    entry = _entries()[asked.source]
    own = {field: getattr(asked, field) for field in asked.model_fields_set}
    merged = entry.model_copy(update={**own, "env": {**entry.env, **asked.env}})
    image = merged.image if asked.image else f"{entry.image}:{merged.version}"
    return merged.model_copy(update={"image": image})


def known() -> tuple[str, ...]:
    """The names of the catalogue's entries."""
    return tuple(_entries())


def read(root: Path, source: str) -> str:
    """The text of a file of the workspace."""
    return (root / source).read_text(encoding="utf-8")


@functools.cache
def _entries() -> dict[str, Backing]:
    return dict(_load(bundled.folder("blueprints") / "backing"))


def _load(folder: Path) -> Iterator[tuple[str, Backing]]:
    from ruamel.yaml import YAML

    for file in sorted(folder.glob("*.yaml")):
        yield file.stem, Backing.model_validate(YAML(typ="safe").load(file))
