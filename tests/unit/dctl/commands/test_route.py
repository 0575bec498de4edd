"""dctl route says to Fuse what the command line says, and tells its answers."""

import grpc
import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as pb

from dctl.errors import ExitCode
from tests.support.core_stub import CoreStub, refuse
from tests.unit.dctl.commands.conftest import Dctl


def test_list_shows_where_each_route_leads(core: CoreStub, dctl: Dctl) -> None:
    weighted = pb.WeightedEndpoint(endpoint=pb.Endpoint(host="::1", port=81), weight=9)
    routes = [
        pb.Route(name="c", match=pb.RouteMatch(prefix="/c"), endpoints=[weighted, weighted]),
        pb.Route(
            name="b",
            match=pb.RouteMatch(prefix="/b", host="x.org"),
            endpoint=pb.Endpoint(host="127.0.0.1", port=80),
        ),
        pb.Route(name="a", match=pb.RouteMatch(prefix="/a"), service="echo", enable_http2=True),
    ]
    routes[2].timeout.FromSeconds(3)
    core.answers["ListRoutes"] = lambda request, _: pb.ListRoutesResponse(routes=routes)
    lines = dctl("route", "list").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["NAME", "a", "b", "c"]
    assert lines[1].split() == ["a", "/a", "-", "service", "echo", "yes", "3s"]
    assert lines[2].split() == ["b", "/b", "x.org", "127.0.0.1:80", "no", "-"]
    assert "[::1]:81 ×9, [::1]:81 ×9" in lines[3]
    items = dctl("route", "list", "-o", "json").json()["items"]
    assert items[1]["endpoints"] == [{"address": "127.0.0.1:80", "weight": 1}]


def test_add_sends_the_route(core: CoreStub, dctl: Dctl) -> None:
    core.answers["AddRoute"] = lambda request, _: pb.AddRouteResponse(code=pb.OK)
    to_service = dctl("route", "add", "a", "--prefix", "/a", "--service", "echo", "--http2")
    assert to_service == (0, "", "added route a\n")
    options = ("--prefix", "/b", "--host", "x.org", "--upstream-timeout", "1500ms")
    dctl("route", "add", "b", "--endpoint", "[::1]:80", *options)
    first, second = (request.route for request in core.requests["AddRoute"])
    assert first == pb.Route(
        name="a", match=pb.RouteMatch(prefix="/a"), service="echo", enable_http2=True
    )
    assert second.endpoint == pb.Endpoint(host="::1", port=80)
    assert second.match.host == "x.org"
    assert second.timeout.ToMilliseconds() == 1500


@pytest.mark.parametrize(
    "argv",
    [
        ("--prefix", "/"),
        ("--prefix", "/", "--service", "a", "--endpoint", "b:1"),
        ("--prefix", "/", "--endpoint", "b"),
        ("--prefix", "/", "--endpoint", "b:0"),
        ("--service", "a"),
    ],
)
def test_a_route_needs_a_prefix_and_one_target(
    core: CoreStub, dctl: Dctl, argv: tuple[str, ...]
) -> None:
    assert dctl("route", "add", "a", *argv).code == ExitCode.USAGE
    assert not core.requests


def test_what_fuse_refuses_is_told_in_its_words(core: CoreStub, dctl: Dctl) -> None:
    core.answers["AddRoute"] = refuse(grpc.StatusCode.FAILED_PRECONDITION, "envoy: bad regex")
    outcome = dctl("route", "add", "a", "--prefix", "/", "--service", "b")
    assert outcome == (1, "", "error: envoy: bad regex\n")


def test_a_proxy_that_did_not_answer_is_a_warning(core: CoreStub, dctl: Dctl) -> None:
    def stored(request: pb.AddRouteRequest, context: grpc.ServicerContext) -> pb.AddRouteResponse:
        context.set_trailing_metadata((("draft-proxies-silent", "envoy-2"),))
        return pb.AddRouteResponse(code=pb.OK)

    core.answers["AddRoute"] = stored
    outcome = dctl("route", "add", "a", "--prefix", "/", "--service", "b")
    assert outcome.code == ExitCode.OK
    assert "warning" in outcome.err
    assert "envoy-2" in outcome.err


def test_delete_names_the_route(core: CoreStub, dctl: Dctl) -> None:
    core.answers["DeleteRoute"] = lambda request, _: pb.DeleteRouteResponse(code=pb.DELETE_ROUTE_OK)
    assert dctl("route", "delete", "a") == (0, "", "deleted route a\n")
    assert core.requests["DeleteRoute"] == [pb.DeleteRouteRequest(name="a")]
