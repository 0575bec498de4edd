"""dctl route: the routes at the ingress, kept by Fuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.core import core
from dctl.commands.options import Seconds, output_option, spec_option, timeout_option

if TYPE_CHECKING:
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb
    from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as rpc

    from dctl.clients import Connection
    from dctl.render.output import Format

_COLUMNS = {name: name for name in ("name", "prefix", "host", "to", "http2", "timeout")}


@click.group()
def group() -> None:
    """Routes at the ingress.

    \b
      dctl route list
      dctl route add cart --prefix /shop.cart.v1.Cart/ --service cart --http2
      dctl route delete cart
    """


@group.command(name="list")
@spec_option
@output_option()
@timeout_option("5s")
def list_(file: Path | None, format: Format, timeout: float) -> None:
    """Every route, by name.

    \b
      dctl route list
      dctl route list -o json
    """
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    from dctl.render.output import emit_list

    with _routes(file, timeout) as (fuse, stub):
        answer = fuse.call(stub.ListRoutes, pb.ListRoutesRequest())
    items = [_item(route) for route in sorted(answer.routes, key=lambda route: route.name)]
    if format == "table":
        items = [{**item, "to": _target(item)} for item in items]
    emit_list("RouteList", items, columns=_COLUMNS, format=format, empty="no routes")


@group.command()
@click.argument("name")
@click.option("--prefix", required=True, help="The path begins with this.")
@click.option("--host", default="", help="The requested host [default: any].")
@click.option("--service", default="", help="To the healthy processes of this service.")
@click.option("--endpoint", metavar="HOST:PORT", help="To this address.")
@click.option("--http2", is_flag=True, help="Speak HTTP/2 to the target, as gRPC needs.")
@click.option(
    "--upstream-timeout", type=Seconds(), help="How long a request may take [default: the proxy's]."
)
@spec_option
@output_option()
@timeout_option("5s")
def add(
    name: str,
    prefix: str,
    host: str,
    service: str,
    endpoint: str | None,
    http2: bool,
    upstream_timeout: float | None,
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """Add the route NAME, or replace it. Returns once the proxies serve it.

    \b
      dctl route add cart --prefix /shop.cart.v1.Cart/ --service cart --http2
      dctl route add legacy --prefix /old/ --endpoint 127.0.0.1:8080
    """
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    from dctl.render.output import emit
    from dctl.text import printable

    if bool(service) == bool(endpoint):
        raise click.UsageError("give either --service or --endpoint")
    route = pb.Route(
        name=name,
        match=pb.RouteMatch(prefix=prefix, host=host),
        service=service,
        enable_http2=http2,
    )
    if endpoint:
        route.endpoint.CopyFrom(_endpoint(endpoint))
    if upstream_timeout is not None:
        route.timeout.FromNanoseconds(round(upstream_timeout * 1e9))
    with _routes(file, timeout) as (fuse, stub):
        _, trailers = fuse.call_with_trailers(stub.AddRoute, pb.AddRouteRequest(route=route))
    for key, value in sorted(trailers.items()):
        if key.startswith("draft-"):
            click.echo(f"warning: {printable(value)}", err=True)
    if format == "table":
        click.echo(f"added route {printable(name)}", err=True)
    else:
        emit("Route", _item(route), format=format)


@group.command()
@click.argument("name")
@spec_option
@output_option()
@timeout_option("5s")
def delete(name: str, file: Path | None, format: Format, timeout: float) -> None:
    """Remove the route NAME. Removing what is absent succeeds.

    \b
      dctl route delete legacy
    """
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    from dctl.render.output import emit
    from dctl.text import printable

    with _routes(file, timeout) as (fuse, stub):
        fuse.call(stub.DeleteRoute, pb.DeleteRouteRequest(name=name))
    if format == "table":
        click.echo(f"deleted route {printable(name)}", err=True)
    else:
        emit("DeletedRoute", {"name": name}, format=format)


@contextmanager
def _routes(
    file: Path | None, timeout: float
) -> Iterator[tuple[Connection, rpc.NetworkingServiceStub]]:
    from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as rpc

    with core("fuse", file, timeout) as fuse:
        yield fuse, fuse.stub(rpc.NetworkingServiceStub)


def _item(route: pb.Route) -> dict[str, Any]:
    weighted = [
        {"address": _address(entry.endpoint), "weight": entry.weight} for entry in route.endpoints
    ]
    if route.HasField("endpoint"):
        weighted.append({"address": _address(route.endpoint), "weight": 1})
    return {
        "name": route.name,
        "prefix": route.match.prefix,
        "host": route.match.host,
        "headers": {
            header.key: header.value
            for header in (*route.match.header_matches, route.match.headers)
            if header.key
        },
        "service": route.service,
        "endpoints": weighted,
        "http2": route.enable_http2,
        "timeout": route.timeout.ToJsonString() if route.HasField("timeout") else None,
        "retries": route.retries,
        "rewritePrefix": route.rewrite_prefix,
    }


def _target(item: dict[str, Any]) -> str:
    """Where a route leads, for people: a service's name, or addresses and their shares."""
    if item["service"]:
        return f"service {item['service']}"
    entries = item["endpoints"]
    if len(entries) == 1:
        return str(entries[0]["address"])
    return ", ".join(f"{entry['address']} ×{entry['weight']}" for entry in entries)


def _address(endpoint: pb.Endpoint) -> str:
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{host}:{endpoint.port}"


def _endpoint(text: str) -> pb.Endpoint:
    from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise click.BadParameter(f'"{text}" is not HOST:PORT', param_hint="--endpoint")
    return pb.Endpoint(host=host.removeprefix("[").removesuffix("]"), port=int(port))
