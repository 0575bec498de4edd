"""An upstream -> its cluster and the endpoints in it.

One cluster per upstream, shared by the routes that have the same: a cluster is what costs a proxy
memory (some 60 KB each).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from draft_services.fuse.routes import Endpoint, Upstream
from draft_services.fuse.translate.security import transport_socket
from draft_services.fuse.xds.messages import message, packed
from draft_services.fuse.xds.resources import Resource

ADS = {"ads": {}, "resource_api_version": "V3"}

# A proxy's own limits (1024) are too low for streams that stay open, and its three concurrent
# retries fail requests exactly when a process stops. Processes limit themselves.
UNLIMITED = 1_000_000


@dataclass(frozen=True, slots=True)
class Instance:
    """A process of a service. One that is not healthy finishes what it has and gets nothing new."""

    endpoint: Endpoint
    healthy: bool


Services = Mapping[str, Sequence[Instance]]
# An endpoint, its weight, whether it takes new requests.
_Member = tuple[Endpoint, int, bool]


def cluster_name(upstream: Upstream) -> str:
    """Readable in the proxy's statistics, and different for different upstreams."""
    protocol = "h2" if upstream.http2 else "h1"
    if upstream.service:
        return f"service/{upstream.service}/{protocol}"
    if len(upstream.endpoints) == 1:
        (endpoint, _), *_ = upstream.endpoints
        return f"endpoint/{endpoint.host}:{endpoint.port}/{protocol}"
    digest = hashlib.blake2b(repr(upstream.endpoints).encode(), digest_size=8).hexdigest()
    return f"endpoints/{digest}/{protocol}"


def cluster_resources(
    upstreams: Iterable[Upstream], services: Services, *, tls: bool = False
) -> list[Resource]:
    """The clusters of these upstreams and their endpoints. With `tls` the processes of a service
    are spoken to by it; what endpoints speak that a route names is not known."""
    found: list[Resource] = []
    for upstream in sorted(set(upstreams), key=cluster_name):
        members = _members(upstream, services)
        service = upstream.service if tls else ""
        found.extend(_resources(cluster_name(upstream), upstream.http2, members, service))
    return found


def _members(upstream: Upstream, services: Services) -> tuple[_Member, ...]:
    if not upstream.service:
        return tuple((endpoint, weight, True) for endpoint, weight in upstream.endpoints)
    # A process that came back at its old address may be listed beside its former self.
    healthy: dict[Endpoint, bool] = {}
    for instance in services.get(upstream.service, ()):
        healthy[instance.endpoint] = healthy.get(instance.endpoint, False) or instance.healthy
    in_order = sorted(healthy.items(), key=lambda item: (item[0].host, item[0].port))
    return tuple((endpoint, 1, is_healthy) for endpoint, is_healthy in in_order)


# Most calls repeat an earlier one: a change touches one upstream of thousands.
@functools.lru_cache(maxsize=16_384)
def _resources(
    name: str, http2: bool, members: tuple[_Member, ...], secured: str
) -> tuple[Resource, ...]:
    assignment = _load_assignment(name, members)
    # Endpoints that are sent apart change without touching the cluster, but have to be addresses.
    if all(endpoint.is_address for endpoint, _, _ in members):
        cluster = _cluster(
            name,
            http2,
            secured,
            type="EDS",
            eds_cluster_config={"eds_config": ADS | {"initial_fetch_timeout": {"seconds": 2}}},
        )
        return Resource.of(name, cluster), Resource.of(name, assignment)
    cluster = _cluster(
        name,
        http2,
        secured,
        type="STRICT_DNS",
        dns_lookup_family="V4_PREFERRED",
        load_assignment=assignment,
    )
    return (Resource.of(name, cluster),)


def _cluster(name: str, http2: bool, secured: str, **discovery: Any) -> Any:
    # Pings find a peer that vanished without a word.
    keepalive = {"interval": {"seconds": 30}, "timeout": {"seconds": 10}}
    protocol = (
        {"http2_protocol_options": {"connection_keepalive": keepalive}}
        if http2
        else {"http_protocol_options": {}}
    )
    options = message("envoy.extensions.upstreams.http.v3.HttpProtocolOptions")(
        explicit_http_config=protocol
    )
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return message("envoy.config.cluster.v3.Cluster")(
        name=name,
        connect_timeout={"seconds": 2},
        lb_policy="ROUND_ROBIN",
        # Never fall back to endpoints that are known not to serve.
        common_lb_config={"healthy_panic_threshold": {"value": 0}},
        ignore_health_on_host_removal=True,
        circuit_breakers={"thresholds": [{limit: {"value": UNLIMITED} for limit in limits}]},
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed(options)
        },
        **({"transport_socket": transport_socket(secured)} if secured else {}),
        **discovery,
    )


def _load_assignment(name: str, members: tuple[_Member, ...]) -> Any:
    endpoints = [
        {
            "endpoint": {
                "address": {
                    "socket_address": {"address": endpoint.host, "port_value": endpoint.port}
                }
            },
            "health_status": "HEALTHY" if healthy else "DRAINING",
            "load_balancing_weight": {"value": weight},
        }
        for endpoint, weight, healthy in members
    ]
    return message("envoy.config.endpoint.v3.ClusterLoadAssignment")(
        cluster_name=name, endpoints=[{"lb_endpoints": endpoints}]
    )
