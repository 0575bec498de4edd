"""The spec as it can be exported, and what of it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dctl.engine.catalogue.parts import core_parts
from dctl.engine.hiding import is_secret_name
from dctl.engine.unsupported import unsupported
from dctl.spec import Cluster, Loaded
from dctl.spec.problems import Path, Problem
from dctl.spec.view import place_span
from dctl.spec.workload import Backing, Service, Workload

W = TypeVar("W", bound=Workload)


@dataclass(frozen=True, slots=True)
class Note:
    """What is not as the spec says it, at its place there."""

    path: Path
    words: str

    def shown(self, loaded: Loaded) -> str:
        return str(Problem(place_span(loaded.tree, self.path), self.words, self.path))


@dataclass(frozen=True, slots=True)
class Exported:
    """Documents, what could not be said in them, and the secrets that somebody has to make:
    name -> how."""

    documents: tuple[Mapping[str, Any], ...]
    notes: tuple[Note, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)


def prepared(cluster: Cluster) -> tuple[Cluster, tuple[Note, ...]]:
    """All parts in one place and in containers, without those that cannot be in any; and what was
    left out. Raises nothing: who exports decides what to do about notes."""
    notes = list(_left_out(cluster))
    out = {note.path[1] for note in notes}

    def moved(section: str, parts: Mapping[str, W]) -> dict[str, W]:
        found = {}
        for name, part in parts.items():
            config = _without_secrets(part.config, (section, name, "config"), notes)
            found[name] = part.model_copy(update={"on": None, "runtime": None, "config": config})
        return found

    core = moved("core", core_parts(cluster.core))
    services = {name: part for name, part in cluster.services.items() if name not in out}
    flat = cluster.model_copy(
        update={
            "hosts": {},
            "groups": {},
            "runtime": "docker",
            "core": cluster.core.model_copy(update=core),
            "infra": moved("infra", cluster.infra),
            "services": moved("services", services),
        }
    )
    notes += [Note(path, words) for path, words in unsupported(flat)]
    notes += _machines(cluster)
    return flat, tuple(notes)


def section_of(part: Workload) -> str:
    """Under which key of the spec a part of its kind stands."""
    return (
        "services"
        if isinstance(part, Service)
        else "infra"
        if isinstance(part, Backing)
        else "core"
    )


def _left_out(cluster: Cluster) -> Iterator[Note]:
    for name, service in cluster.services.items():
        if service.command and not service.run and not service.image:
            yield Note(
                ("services", name, "command"),
                "left out: a container needs an image, or a folder to `run` from",
            )


def _without_secrets(config: Mapping[str, Any], at: Path, notes: list[Note]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            kept[key] = _without_secrets(value, (*at, key), notes)
        elif value and is_secret_name(str(key)):
            notes.append(
                Note(
                    (*at, key), "left out: it looks like a secret; give it in `env`: secret://NAME"
                )
            )
        else:
            kept[key] = value
    return kept


def _machines(cluster: Cluster) -> Iterator[Note]:
    for name, host in cluster.hosts.items():
        if host.variables:
            yield Note(("hosts", name, "variables"), "not exported: there are no hosts; use `env`")
    parts: list[tuple[Path, Any]] = [
        (("core", name), part) for name, part in core_parts(cluster.core).items()
    ]
    parts += [(("services", name), part) for name, part in cluster.services.items()]
    for path, part in parts:
        if part.on is not None and len(cluster.hosts) > 1:
            yield Note((*path, "on"), "not exported: where it runs is for others to decide")
        if isinstance(part, Service) and "auto_rollback" in part.update.model_fields_set:
            yield Note((*path, "update", "auto_rollback"), "not exported: only dctl goes back")
