"""Every rule that a Route message has to pass names its field."""

from __future__ import annotations

from typing import Any

import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as pb
from draft_services.fuse.routes import Endpoint, InvalidRouteError, parse, parse_address
from google.protobuf.duration_pb2 import Duration


def route(*, match: dict[str, Any] | None = None, **fields: Any) -> pb.Route:
    given: dict[str, Any] = {
        "name": "r",
        "match": pb.RouteMatch(**{"prefix": "/", **(match or {})}),
        "endpoint": pb.Endpoint(host="10.0.0.1", port=80),
    }
    return pb.Route(**(given | fields))


def header(key: str = "a", value: str = "b") -> pb.HeaderMatchOptions:
    return pb.HeaderMatchOptions(key=key, value=value)


def weighted(weight: int, host: str = "10.0.0.1", port: int = 80) -> pb.WeightedEndpoint:
    return pb.WeightedEndpoint(endpoint=pb.Endpoint(host=host, port=port), weight=weight)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (route(name=""), "name"),
        (route(name=" r"), "name"),
        (route(name="a\nb"), "name"),
        (route(name="x" * 1025), "name"),
        (route(match={"prefix": ""}), "match.prefix"),
        (route(match={"prefix": "api"}), "match.prefix"),
        (route(match={"prefix": "/a?b"}), "match.prefix"),
        (route(match={"prefix": "/a b"}), "match.prefix"),
        (route(match={"host": "a b"}), "match.host"),
        (route(match={"host": "example.com:80"}), "match.host"),
        (route(match={"host": "http://example.com"}), "match.host"),
        (route(match={"host": "a.*.com"}), "match.host"),
        (route(match={"headers": header("")}), "match.headers.key"),
        (route(match={"headers": header("a b")}), "match.headers.key"),
        (
            route(match={"header_matches": [header(), header(value="\n")]}),
            "match.header_matches[1]",
        ),
        (route(endpoint=None), "endpoint"),
        (route(service="s"), "endpoint"),
        (route(endpoint=pb.Endpoint(port=80)), "endpoint.host"),
        (route(endpoint=pb.Endpoint(host="not a host", port=80)), "endpoint.host"),
        (route(endpoint=pb.Endpoint(host="http://h", port=80)), "endpoint.host"),
        (route(endpoint=pb.Endpoint(host="300.1.1.1", port=80)), "endpoint.host"),
        (route(endpoint=pb.Endpoint(host="h")), "endpoint.port"),
        (route(endpoint=pb.Endpoint(host="h", port=65536)), "endpoint.port"),
        (route(endpoint=None, endpoints=[weighted(1), weighted(1, host="")]), "endpoints[1]"),
        (route(endpoint=None, endpoints=[pb.WeightedEndpoint(weight=1)]), "endpoints[0].endpoint"),
        (route(endpoint=None, endpoints=[weighted(0)]), "endpoints"),
        (route(endpoint=None, endpoints=[weighted(2**32 - 1), weighted(1)]), "endpoints"),
        (route(endpoint=None, service=" s"), "service"),
        (route(timeout=Duration(seconds=-1)), "timeout"),
        (route(rewrite_prefix="no-slash"), "rewrite_prefix"),
    ],
)
def test_a_wrong_route_is_refused_by_its_field(message: pb.Route, field: str) -> None:
    with pytest.raises(InvalidRouteError) as caught:
        parse(message)
    assert caught.value.field.startswith(field)
    assert str(caught.value).startswith(f"route.{field}")


@pytest.mark.parametrize(
    "host", ["example.com", "*", "*.example.com", "example.*", "a_b", "10.0.0.1", "[::1]", "X.de"]
)
def test_hosts_and_patterns_are_taken_in_lower_case(host: str) -> None:
    assert parse(route(match={"host": host})).host == host.lower()


@pytest.mark.parametrize("host", ["localhost", "my_host", "a.b.", "::1", "[::1]", "0.0.0.0"])
def test_names_and_addresses_are_endpoints(host: str) -> None:
    parsed = parse(route(endpoint=pb.Endpoint(host=host, port=1)))
    assert parsed.upstream.endpoints == ((Endpoint(host.strip("[]"), 1), 1),)


def test_equal_endpoint_sets_are_equal_upstreams() -> None:
    """Whatever the order, and an endpoint that is named twice has the sum of its weights."""
    one = parse(route(endpoint=None, endpoints=[weighted(1, "b"), weighted(2, "a")]))
    two = parse(
        route(endpoint=None, endpoints=[weighted(1, "a"), weighted(1, "b"), weighted(1, "a")])
    )
    assert one.upstream == two.upstream


def test_an_endpoint_with_weight_zero_gets_no_requests() -> None:
    parsed = parse(route(endpoint=None, endpoints=[weighted(0, "a"), weighted(1, "b")]))
    assert [endpoint.host for endpoint, _ in parsed.upstream.endpoints] == ["b"]


def test_an_unset_timeout_differs_from_zero() -> None:
    assert parse(route()).timeout is None
    assert parse(route(timeout=Duration())).timeout == 0


@pytest.mark.parametrize("address", ["10.0.0.1:80", "http://10.0.0.1:80", "http://10.0.0.1:80/"])
def test_addresses_are_taken_with_and_without_scheme(address: str) -> None:
    assert parse_address(address) == Endpoint("10.0.0.1", 80)


@pytest.mark.parametrize("address", ["", "host", "host:", ":80", "host:0", "host:x", "a b:80"])
def test_what_is_no_address_is_a_value_error(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_address(address)
