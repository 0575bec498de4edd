"""Which services are meant, and what has to be there for them. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from dctl.engine.catalogue.parts import core_parts
from dctl.errors import NotFoundError
from dctl.spec import Cluster

FOLDER = "services"


def choose(cluster: Cluster, services: Sequence[str], domains: Sequence[str]) -> list[str]:
    """The services of the spec that run from a folder, and that `services` (by name, or by folder
    below services/) or `domains` (folders there) select; without any of these all of them. Raises
    NotFoundError for what selects none."""
    folders = {name: _below(str(s.run)) for name, s in cluster.services.items() if s.run}
    if not folders:
        raise NotFoundError(
            "the spec has no service that runs from a folder of the workspace",
            hint="make one: dctl service new NAME",
        )
    if not services and not domains:
        return list(folders)
    chosen: set[str] = set()
    for wanted in services:
        found = [n for n, f in folders.items() if fnmatchcase(n, wanted) or fnmatchcase(f, wanted)]
        chosen |= {*_some(found, "service", wanted, [*folders, *folders.values()])}
    for wanted in domains:
        found = [n for n, folder in folders.items() if wanted in _domains(folder)]
        known = [domain for folder in folders.values() for domain in _domains(folder)]
        chosen |= {*_some(found, "domain", wanted, known)}
    return [name for name in folders if name in chosen]


def needed(cluster: Cluster, chosen: Iterable[str]) -> list[str]:
    """The parts that have to be there for the chosen services: the core, what backs it, and what
    they depend on, directly or not."""
    chosen = list(chosen)
    found = dict.fromkeys((*core_parts(cluster.core), *cluster.infra))
    left = [name for one in chosen for name in cluster.services[one].depends_on]
    while left:
        name = left.pop(0)
        if name in cluster.services and name not in found and name not in chosen:
            found[name] = None
            left += cluster.services[name].depends_on
    return list(found)


def split(values: Iterable[str]) -> list[str]:
    """`a,b` is the same as a and b."""
    return [part for value in values for part in value.split(",") if part]


def _below(run: str) -> str:
    path = PurePosixPath(run)
    return str(path.relative_to(FOLDER)) if path.is_relative_to(FOLDER) else str(path)


def _domains(folder: str) -> list[str]:
    return [str(parent) for parent in PurePosixPath(folder).parents if str(parent) != "."]


def _some(found: list[str], what: str, wanted: str, known: Iterable[str]) -> list[str]:
    if found:
        return found
    there = sorted(dict.fromkeys(known))
    near = difflib.get_close_matches(wanted, there, n=1)
    raise NotFoundError(
        f'there is no {what} "{wanted}" to run' + (f'; did you mean "{near[0]}"?' if near else ""),
        hint=f"there are: {', '.join(there) or 'none'}",
    )
