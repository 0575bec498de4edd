"""Names and labels of what is ours on an engine, and which container is which. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dctl.errors import DctlError, ForeignError
from dctl.hosts.base import Endpoint, Json, Kind, Need, Resource

CLUSTER = "draft.cluster"
INSTANCE = "draft.instance"
SERVICE = "draft.service"
NEEDS = "draft.needs"
PORTS = "draft.ports"
DIGEST = "draft.digest"
SPEC = "draft.spec"
IMAGE_OF = "draft.image.cluster"  # on images, and inherited by their containers

# A container on its way in or out while it is replaced. No instance's name has a dot.
INCOMING = ".new"
OUTGOING = ".old"

_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


def network_name(cluster: str) -> str:
    return f"draft-{cluster}"


def container_name(cluster: str, instance: str) -> str:
    if not _INSTANCE.fullmatch(instance):
        raise DctlError(f'"{instance}" cannot be the name of a container')
    return f"draft-{cluster}-{instance}"


def volume_name(cluster: str, instance: str, short: str) -> str:
    return f"draft-{cluster}-{instance}-{short}"


def labels(cluster: str, resource: Resource, spec: Mapping[str, Json]) -> dict[str, str]:
    """All that was asked, as the container itself tells it."""
    ports = {name: [e.host, e.port] for name, e in resource.ports.items()}
    return {
        CLUSTER: cluster,
        INSTANCE: resource.name,
        SERVICE: resource.service,
        NEEDS: _canonical([need.resource for need in resource.needs]),
        PORTS: _canonical(ports),
        DIGEST: resource.digest,
        SPEC: _canonical(spec),
    }


def asked(labels: Mapping[str, str]) -> Mapping[str, Json] | None:
    """The spec in the labels; None when they tell none that we understand."""
    try:
        spec = json.loads(labels[SPEC])
    except (KeyError, ValueError):
        return None
    return spec if isinstance(spec, dict) else None


def needs(labels: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(json.loads(labels.get(NEEDS, "[]")))


def ports(labels: Mapping[str, str]) -> dict[str, Endpoint]:
    """Where each port was meant to be published."""
    stored = json.loads(labels.get(PORTS, "{}"))
    return {name: Endpoint(host, port) for name, (host, port) in stored.items()}


def resource(labels: Mapping[str, str], host: str) -> Resource:
    """What was asked, whole: enough to make the container anew."""
    spec = asked(labels)
    if spec is None:
        raise DctlError(
            f"what {labels[INSTANCE]} on {host} was made of cannot be told",
            hint="dctl infra apply makes it anew",
        )
    return Resource(
        kind=Kind.CONTAINER,
        name=labels[INSTANCE],
        host=host,
        service=labels.get(SERVICE, ""),
        spec=spec,
        ports=ports(labels),
        needs=tuple(map(Need, needs(labels))),
    )


@dataclass(frozen=True, slots=True)
class Listed:
    """A container as the engine lists it."""

    id: str
    name: str
    labels: Mapping[str, str]
    state: str
    published: tuple[Endpoint, ...] = ()

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Listed:
        """From an entry of the engine's list."""
        # Links give further names, which have a second slash.
        names = [name[1:] for name in entry["Names"] or () if "/" not in name[1:]]
        published = {
            Endpoint(port.get("IP") or "0.0.0.0", port["PublicPort"])
            for port in entry.get("Ports") or ()
            if port.get("PublicPort") and port.get("Type") == "tcp"
        }
        return cls(
            id=entry["Id"],
            name=names[0] if names else entry["Id"][:12],
            labels=entry["Labels"] or {},
            state=entry["State"],
            published=tuple(published),
        )

    @property
    def alive(self) -> bool:
        return self.state in ("running", "restarting", "paused")


@dataclass(slots=True)
class Found:
    """The containers of one instance: the one that counts, and what a cut-off replacement left.

    `whole` is false when the one that counts may lack its files.
    """

    current: Listed | None = None
    leftovers: list[Listed] = field(default_factory=list)
    whole: bool = True

    @property
    def all(self) -> list[Listed]:
        return [*self.leftovers, self.current] if self.current else self.leftovers


def instances(listed: Iterable[Listed], cluster: str) -> dict[str, Found]:
    """What of `cluster` is there, by the name of the instance."""
    found: dict[str, Found] = {}
    for container in sorted(listed, key=lambda c: c.name):
        if container.labels.get(CLUSTER) == cluster and INSTANCE in container.labels:
            place = found.setdefault(container.labels[INSTANCE], Found())
            place.leftovers.append(container)
    for instance, place in found.items():
        name = f"draft-{cluster}-{instance}"
        # Under its name; else renamed, by us or by hand; else one that was never finished.
        rank = {name: 0, name + INCOMING: 2}
        place.leftovers.sort(key=lambda c: (rank.get(c.name, 1), c.name))
        place.current = place.leftovers.pop(0)
        place.whole = place.current.name != name + INCOMING
    return dict(sorted(found.items()))


def strangers(listed: Iterable[Listed], cluster: str) -> dict[str, Listed]:
    """Containers under names of ours that dctl did not make, by the name of the instance."""
    prefix = container_name(cluster, "x")[:-1]
    return {
        container.name.removeprefix(prefix): container
        for container in listed
        if CLUSTER not in container.labels and container.name.startswith(prefix)
    }


def refuse_stranger(listed: Iterable[Listed], cluster: str, name: str) -> None:
    """Raise when the container's `name` is in use by what is not ours."""
    for container in listed:
        if container.name == name and container.labels.get(CLUSTER) != cluster:
            owner = container.labels.get(CLUSTER)
            whose = f'belongs to cluster "{owner}"' if owner else "was not made by dctl"
            raise ForeignError(
                f"container {name} {whose}",
                hint="dctl touches only what it made: rename the service, or remove the other",
            )


def _canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
