"""Resources and snapshots, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from draft_services.fuse.xds.messages import TYPE_PREFIX, serialized

CLUSTER = TYPE_PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINTS = TYPE_PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = TYPE_PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = TYPE_PREFIX + "envoy.config.route.v3.RouteConfiguration"

# A resource goes out after those that it refers to; removals go the other way.
ORDER = (CLUSTER, ENDPOINTS, LISTENER, ROUTES)


@dataclass(frozen=True, slots=True)
class Resource:
    """One named resource. The version is a hash of the content, so that a proxy that reconnects,
    even to another Fuse, is sent only what differs."""

    type_url: str
    name: str
    body: bytes
    version: str

    @classmethod
    def of(cls, name: str, message: Any) -> Resource:
        """The resource that holds this message."""
        body = serialized(message)
        version = hashlib.blake2b(body, digest_size=8).hexdigest()
        return cls(TYPE_PREFIX + message.DESCRIPTOR.full_name, name, body, version)


# {type URL: {name: resource}}, with a key for every type of ORDER.
Snapshot = Mapping[str, Mapping[str, Resource]]


def snapshot(resources: Iterable[Resource]) -> Snapshot:
    """The snapshot of these resources."""
    found: dict[str, dict[str, Resource]] = {type_url: {} for type_url in ORDER}
    for resource in resources:
        found[resource.type_url][resource.name] = resource
    return found
