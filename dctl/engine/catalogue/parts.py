"""What there is to run, and where."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

from dctl import bundled
from dctl.spec import Cluster
from dctl.spec.core import Core, CorePart
from dctl.spec.placement import address_of, hosts_for, hosts_of
from dctl.spec.types import LOOPBACK
from dctl.spec.workload import Backing, Workload

CORE_PARTS = ("nats", "blueprint", "catalyst", "fuse", "envoy")


def parts(cluster: Cluster) -> dict[str, Workload]:
    """All parts by name: core parts, backing services with all that the catalogue says of them,
    the user's own services."""
    backings = {name: completed(backing) for name, backing in cluster.infra.items()}
    return {**core_parts(cluster.core), **backings, **cluster.services}


def placed(cluster: Cluster) -> dict[str, dict[str, str]]:
    """The replicas of each part, and the host of each."""
    return {name: _dealt(name, part, cluster) for name, part in parts(cluster).items()}


def engine_hosts(cluster: Cluster) -> tuple[str, ...]:
    """By what names and addresses nodes of the engine may call each other."""
    nats = cluster.core.nats
    if nats is False:
        return ()
    there = placed(cluster)["nats"]
    given = [nats.cluster.host] if nats.cluster.given else []
    addresses = [address_of(host, cluster) or LOOPBACK for host in there.values()]
    return tuple(sorted({*there, *given, *addresses}))


def _dealt(name: str, part: Workload, cluster: Cluster) -> dict[str, str]:
    """A part's replicas, dealt out in turn to the hosts that it may be on."""
    chosen = hosts_for(part.on, cluster)
    number = getattr(part, "replicas", 1)
    return {f"{name}-{n + 1}": chosen[n % len(chosen)] for n in range(number)}


def by_host(cluster: Cluster) -> dict[str, dict[str, Workload]]:
    """The parts of which a replica is on each host."""
    every = parts(cluster)
    found: dict[str, dict[str, Workload]] = {host: {} for host in hosts_of(cluster)}
    for name, replicas in placed(cluster).items():
        for host in replicas.values():
            found[host][name] = every[name]
    return found


def core_parts(core: Core) -> dict[str, CorePart]:
    """The parts that the spec does not leave out, by name, in the order in which they start."""
    found = {name: getattr(core, name) for name in CORE_PARTS}
    return {name: part for name, part in found.items() if part is not False}


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
    """The names of the catalogue's entries of backing services."""
    return tuple(_entries())


@functools.cache
def _entries() -> Mapping[str, Backing]:
    return dict(_load(bundled.folder("blueprints") / "backing"))


def _load(folder: Path) -> Iterator[tuple[str, Backing]]:
    from ruamel.yaml import YAML

    for file in sorted(folder.glob("*.yaml")):
        yield file.stem, Backing.model_validate(YAML(typ="safe").load(file))
