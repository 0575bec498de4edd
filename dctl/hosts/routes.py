"""Routes at the ingress, as a host of their own: observed and changed through Fuse.

dctl owns the routes named `spec/<service>/<n>`; those that services declare in code belong to
them and are never looked at here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dctl.clients import Connection, Way, connect
from dctl.errors import UnreachableError
from dctl.hosts.base import (
    Json,
    Kind,
    Observed,
    Resource,
    State,
)
from dctl.hosts.passive import PassiveHost, PassiveReader

if TYPE_CHECKING:
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

INGRESS = "ingress"
_OWNED = "spec/"
_TIMEOUT = 5.0  # Fuse waits 2 s at most for a frozen proxy


@dataclass(frozen=True, slots=True)
class RouteSpec:
    """The shape of `Resource.spec` for a route. `timeout` in seconds; `endpoints` are host:port,
    used when no `service` is named whose replicas the route follows."""

    prefix: str
    host: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    grpc: bool = False
    service: str = ""
    endpoints: tuple[str, ...] = ()
    http2: bool = True
    timeout: float | None = None
    retries: int = 0
    rewrite_prefix: str = ""

    def to_json(self) -> dict[str, Json]:
        return {**asdict(self), "headers": dict(self.headers), "endpoints": list(self.endpoints)}

    @classmethod
    def from_json(cls, spec: Mapping[str, Json]) -> RouteSpec:
        return cls(**{**spec, "endpoints": tuple(spec["endpoints"])})


class RouteReader(PassiveReader):
    """The looking face. `fuse` tells the way to Fuse at the time of the call, so that its address
    may have been picked by the very apply that asks; it raises UnreachableError while there is
    none."""

    name = INGRESS

    def __init__(self, cluster: str, fuse: Callable[[], Way]) -> None:
        self._cluster = cluster
        self._fuse = fuse

    def observe(self) -> Sequence[Observed]:
        """The routes of ours; none while Fuse does not run, for then nobody serves them."""
        try:
            way = self._fuse()
        except UnreachableError:
            return []
        if not _listens(way.address):
            return []
        from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

        with self._connected() as (fuse, stub):
            routes = fuse.call(stub.ListRoutes, pb.ListRoutesRequest()).routes
        owned = (route for route in routes if route.name.startswith(_OWNED))
        return [self._observed(route) for route in sorted(owned, key=lambda r: r.name)]

    def _observed(self, route: pb.Route) -> Observed:
        return Observed(
            kind=Kind.ROUTE,
            name=route.name,
            host=INGRESS,
            state=State.RUNNING,
            owner=self._cluster,
            service=route.name.split("/")[1],
            spec=_from_proto(route).to_json(),
        )

    @contextmanager
    def _connected(self) -> Iterator[tuple[Connection, Any]]:
        from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as rpc

        with connect("Fuse", self._fuse(), timeout=_TIMEOUT) as fuse:
            yield fuse, fuse.stub(rpc.NetworkingServiceStub)


class RouteHost(RouteReader, PassiveHost):
    """The changing face."""

    def ensure(self, resource: Resource) -> None:
        from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

        route = to_proto(resource.name, RouteSpec.from_json(resource.spec))
        with self._connected() as (fuse, stub):
            fuse.call(stub.AddRoute, pb.AddRouteRequest(route=route))

    def remove(self, name: str) -> None:
        from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

        with self._connected() as (fuse, stub):
            fuse.call(stub.DeleteRoute, pb.DeleteRouteRequest(name=name))


def to_proto(name: str, spec: RouteSpec) -> pb.Route:
    """The message that Fuse is given."""
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    route = pb.Route(
        name=name,
        match=pb.RouteMatch(
            prefix=spec.prefix,
            host=spec.host,
            header_matches=[
                pb.HeaderMatchOptions(key=key, value=value)
                for key, value in sorted(spec.headers.items())
            ],
        ),
        enable_http2=spec.http2,
        service=spec.service,
        retries=spec.retries,
        rewrite_prefix=spec.rewrite_prefix,
        endpoints=[pb.WeightedEndpoint(endpoint=_endpoint(e), weight=1) for e in spec.endpoints],
    )
    if spec.grpc:
        route.match.grpc_match_options.SetInParent()
    if spec.timeout is not None:
        route.timeout.FromNanoseconds(round(spec.timeout * 1e9))
    return route


def _from_proto(route: pb.Route) -> RouteSpec:
    match = route.match
    return RouteSpec(
        prefix=match.prefix,
        host=match.host,
        headers={header.key: header.value for header in match.header_matches},
        grpc=match.HasField("grpc_match_options"),
        service=route.service,
        endpoints=tuple(f"{e.endpoint.host}:{e.endpoint.port}" for e in route.endpoints),
        http2=route.enable_http2,
        timeout=route.timeout.ToNanoseconds() / 1e9 if route.HasField("timeout") else None,
        retries=route.retries,
        rewrite_prefix=route.rewrite_prefix,
    )


def _endpoint(text: str) -> pb.Endpoint:
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    host, _, port = text.rpartition(":")
    return pb.Endpoint(host=host, port=int(port))


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_TIMEOUT):
            return True
    except OSError:
        return False
