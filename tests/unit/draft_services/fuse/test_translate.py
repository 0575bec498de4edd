"""Routes and endpoints become the xDS resources that serve them."""

from __future__ import annotations

from typing import Any

from draft_services.fuse.routes import Endpoint, Route, Upstream
from draft_services.fuse.translate import matching
from draft_services.fuse.translate.clusters import Instance, cluster_name, cluster_resources
from draft_services.fuse.translate.filters import CONNECT_BRIDGE, GRPC_WEB, TRANSCODER
from draft_services.fuse.translate.listener import listener
from draft_services.fuse.translate.virtual_hosts import route_configuration
from draft_services.fuse.xds.messages import message
from draft_services.fuse.xds.resources import CLUSTER, ENDPOINTS, Resource

A, B = Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80)
SERVICE = Upstream("echo", (), True)
PLAIN = Upstream("", ((A, 1),), False)


def route(name: str = "r", **fields: Any) -> Route:
    given: dict[str, Any] = {
        "host": "*",
        "prefix": "/",
        "headers": (),
        "only_grpc": False,
        "upstream": PLAIN,
        "timeout": None,
        "retries": 0,
        "rewrite_prefix": "",
    }
    return Route(name=name, **(given | fields))


def decoded(resource: Resource) -> Any:
    name = resource.type_url.rpartition("/")[2]
    return message(name).FromString(resource.body)


def only_route(of: Route, descriptors: dict[str, bytes] | None = None) -> Any:
    (found,) = routes_of(of, descriptors or {})
    return found


def routes_of(of: Route, descriptors: dict[str, bytes]) -> Any:
    return decoded(route_configuration([of], descriptors)).virtual_hosts[0].routes


def by_type(resources: list[Resource], type_url: str) -> list[Any]:
    return [decoded(r) for r in resources if r.type_url == type_url]


def health(services: dict[str, list[Instance]]) -> dict[str, str]:
    (found,) = by_type(cluster_resources([SERVICE], services), ENDPOINTS)
    states = found.endpoints[0].lb_endpoints
    return {
        e.endpoint.address.socket_address.address: e.DESCRIPTOR.fields_by_name["health_status"]
        .enum_type.values_by_number[e.health_status]
        .name
        for e in states
    }


# Clusters


def test_where_everything_encrypts_a_service_has_to_prove_which_it_is() -> None:
    plain = message("envoy.config.cluster.v3.Cluster")().transport_socket
    of = {True: {}, False: {}}
    for tls, found in of.items():
        for cluster in by_type(cluster_resources([SERVICE, PLAIN], {}, tls=tls), CLUSTER):
            found[cluster.name] = cluster.transport_socket
    assert of[False] == {"service/echo/h2": plain, "endpoint/10.0.0.1:80/h1": plain}
    assert of[True]["endpoint/10.0.0.1:80/h1"] == plain  # what it speaks is not known
    assert b"echo.draft" in of[True]["service/echo/h2"].typed_config.value


def test_routes_with_equal_upstreams_share_a_cluster() -> None:
    upstreams = [route(name).upstream for name in "abc"]
    assert len(by_type(cluster_resources(upstreams, {}), CLUSTER)) == 1


def test_different_upstreams_have_different_clusters() -> None:
    different = [
        PLAIN,
        Upstream("", ((A, 1),), True),
        Upstream("", ((A, 1), (B, 1)), False),
        Upstream("", ((A, 1), (B, 2)), False),
        SERVICE,
        Upstream("echo", (), False),
    ]
    assert len({cluster_name(each) for each in different}) == len(different)


def test_a_process_that_is_not_healthy_drains() -> None:
    instances = [Instance(A, True), Instance(B, False)]
    assert health({"echo": instances}) == {"10.0.0.1": "HEALTHY", "10.0.0.2": "DRAINING"}


def test_a_process_that_came_back_at_its_old_address_is_healthy() -> None:
    assert health({"echo": [Instance(A, True), Instance(A, False)]}) == {"10.0.0.1": "HEALTHY"}


def test_a_service_without_processes_has_a_cluster_with_no_endpoints() -> None:
    assert health({}) == {}


def test_processes_coming_and_going_do_not_touch_the_cluster() -> None:
    """A changed cluster would warm anew."""
    before = cluster_resources([SERVICE], {"echo": [Instance(A, True)]})
    after = cluster_resources([SERVICE], {"echo": [Instance(A, False), Instance(B, True)]})
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_an_endpoint_with_a_name_is_resolved_by_the_proxy() -> None:
    named = Upstream("", ((Endpoint("db.internal", 80), 1),), False)
    resources = cluster_resources([named], {})
    assert by_type(resources, ENDPOINTS) == []  # a name in them would be refused
    (cluster,) = by_type(resources, CLUSTER)
    assert cluster.load_assignment.endpoints


def test_the_order_of_the_input_does_not_matter() -> None:
    one = {"echo": [Instance(A, True), Instance(B, True)]}
    two = {"echo": [Instance(B, True), Instance(A, True)]}
    assert cluster_resources([SERVICE, PLAIN], one) == cluster_resources([PLAIN, SERVICE], two)
    routes = [route("a"), route("b", prefix="/b")]
    assert route_configuration(routes, {}) == route_configuration(routes[::-1], {})


# Matching


def order(*routes: Route, host: str = "*") -> str:
    return "".join(r.name for r in matching.by_host(routes)[host])


def test_longer_prefixes_come_first_then_grpc_then_more_headers_then_the_name() -> None:
    assert (
        order(
            route("f", prefix="/"),
            route("e", prefix="/a"),
            route("d", prefix="/a"),
            route("c", prefix="/a", headers=(("x", "1"),)),
            route("b", prefix="/a", only_grpc=True),
            route("a", prefix="/a/b"),
        )
        == "abcdef"
    )


def test_a_virtual_host_carries_the_routes_of_wider_patterns_too() -> None:
    """Envoy looks into one virtual host only; a route without a host is for every host."""
    routes = [
        route("any", prefix="/long/prefix/"),
        route("wide", host="*.b.c", prefix="/"),
        route("own", host="a.b.c", prefix="/"),
        route("other", host="x.y", prefix="/"),
    ]
    assert order(*routes, host="a.b.c") == "any" + "own" + "wide"
    assert order(*routes, host="x.y") == "any" + "other"


def test_a_pattern_covers_hosts_and_narrower_patterns() -> None:
    assert matching.covers("*", "a.b")
    assert matching.covers("*.b", "a.b")
    assert matching.covers("*.b", "*.a.b")
    assert matching.covers("a.*", "a.b")
    assert not matching.covers("*.b", ".b")
    assert not matching.covers("*.b", "b")
    assert not matching.covers("a.*", "*.b")
    assert not matching.covers("*.a.b", "*.b")


def test_a_prefix_stands_for_whole_segments() -> None:
    assert only_route(route(prefix="/api")).match.path_separated_prefix == "/api"
    assert only_route(route(prefix="/api/")).match.prefix == "/api/"
    assert only_route(route(prefix="/pkg.")).match.prefix == "/pkg."


# Actions


def test_a_rewrite_keeps_one_slash() -> None:
    def rewrite(prefix: str, new: str) -> str:
        action = only_route(route(prefix=prefix, rewrite_prefix=new)).route
        if action.HasField("regex_rewrite"):
            return f"{action.regex_rewrite.pattern.regex} -> {action.regex_rewrite.substitution}"
        return str(action.prefix_rewrite)

    assert rewrite("/api", "/v2") == "/v2"
    assert rewrite("/api/", "/v2") == "/v2/"
    assert rewrite("/api/", "/v2/") == "/v2/"
    assert rewrite("/", "/v2") == "/v2/"
    assert rewrite("/a.b", "/") == r"^/a\.b/? -> /"


def test_a_grpc_route_limits_the_stream_and_a_plain_one_the_answer() -> None:
    grpc = only_route(route(upstream=SERVICE, timeout=1.5)).route
    assert grpc.timeout.ToMilliseconds() == 0
    assert grpc.max_stream_duration.max_stream_duration.ToMilliseconds() == 1500
    assert grpc.max_stream_duration.grpc_timeout_header_max.ToMilliseconds() == 1500
    plain = only_route(route(timeout=1.5)).route
    assert plain.timeout.ToMilliseconds() == 1500


def test_without_a_timeout_nothing_is_cut_off() -> None:
    """Envoy's own 15 s would end downloads and watches."""
    assert only_route(route()).route.HasField("timeout")
    assert only_route(route()).route.timeout.ToMilliseconds() == 0
    assert only_route(route(upstream=SERVICE)).route.HasField("timeout")


def test_only_undelivered_requests_to_a_service_are_tried_again_unasked() -> None:
    assert not only_route(route()).route.HasField("retry_policy")
    unasked = only_route(route(upstream=SERVICE)).route.retry_policy
    assert unasked.num_retries.value == 2
    assert "unavailable" not in unasked.retry_on
    asked = only_route(route(upstream=SERVICE, retries=5)).route.retry_policy
    assert asked.num_retries.value == 5
    assert "unavailable" in asked.retry_on


def test_a_plain_route_has_every_bridge_switched_off() -> None:
    assert {GRPC_WEB, CONNECT_BRIDGE, TRANSCODER} <= set(
        only_route(route()).typed_per_filter_config
    )


def test_a_grpc_route_is_transcoded_where_descriptors_are_known() -> None:
    """And JSON passes the bridge, which would not translate it."""
    grpc = route(prefix="/p.S/", upstream=SERVICE)
    assert TRANSCODER not in only_route(grpc).typed_per_filter_config
    json, other = routes_of(grpc, {"p.S": b""})
    for each in (json, other):
        config = each.typed_per_filter_config[TRANSCODER]
        name = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
        assert list(message(name).FromString(config.value).services) == ["p.S"]
    assert CONNECT_BRIDGE in json.typed_per_filter_config
    assert CONNECT_BRIDGE not in other.typed_per_filter_config


def test_a_route_for_grpc_only_or_with_a_new_path_takes_no_json() -> None:
    for fields in ({"only_grpc": True}, {"rewrite_prefix": "/x/"}):
        found = routes_of(route(prefix="/p.S/", upstream=SERVICE, **fields), {"p.S": b""})
        assert [TRANSCODER in each.typed_per_filter_config for each in found] == [False]


def test_the_listener_is_where_it_was_asked_for() -> None:
    address = decoded(listener(Endpoint("127.0.0.1", 10000))).address.socket_address
    assert (address.address, address.port_value) == ("127.0.0.1", 10000)
