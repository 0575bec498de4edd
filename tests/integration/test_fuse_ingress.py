"""Routes and protocols at a real ingress: nats-server, Blueprint, Fuse and Envoy are real."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.key_value.v1 import models_pb2, service_pb2
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_grpc
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.duration_pb2 import Duration

from tests.support.blueprint import value
from tests.support.ingress import (
    ECHO,
    Ingress,
    echo_route,
    eventually,
    grpc_backend,
    http_backend,
    running_ingress,
)

SPEAK = f"/{ECHO}/Speak"
HELLO = echo.SpeakRequest(input="hello").SerializeToString()


@pytest.fixture
async def ingress(tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(tmp_path) as running:
        yield running


async def request(
    url: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer."""

    def blocking() -> tuple[int, dict[str, str], bytes]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(url, data=body, headers=sent), timeout=10
            ) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    return await asyncio.to_thread(blocking)


def echo_files() -> FileDescriptorSet:
    files = FileDescriptorSet()
    echo.DESCRIPTOR.CopyToProto(files.file.add())
    return files


def files_that_envoy_refuses() -> FileDescriptorSet:
    """Sound descriptors, but the REST path of a method does not parse, which only Envoy notices."""
    files = echo_files()
    path = b"/{unclosed"
    get = b"\x12" + bytes([len(path)]) + path
    http_rule = b"\x82\xd3\xe4\x93\x02" + bytes([len(get)]) + get  # google.api.http
    files.file[0].service[0].method[0].options.MergeFromString(http_rule)
    return files


async def test_a_route_serves_when_add_route_returns(ingress: Ingress) -> None:
    with http_backend() as backend:
        await ingress.add(
            networking.Route(
                name="site",
                match=networking.RouteMatch(prefix="/site"),
                endpoint=backend.endpoint,
            )
        )
        assert (await request(ingress.url + "/site/a?b=c"))[::2] == (200, b"plain")
        assert backend.metadata[":path"] == "/site/a?b=c"
        assert (await request(ingress.url + "/sitemap"))[0] == 404


async def test_a_deleted_route_serves_no_longer_when_delete_route_returns(
    ingress: Ingress,
) -> None:
    with http_backend() as backend:
        match = networking.RouteMatch(prefix="/")
        await ingress.add(networking.Route(name="site", match=match, endpoint=backend.endpoint))
        answer = await ingress.fuse.routes.DeleteRoute(networking.DeleteRouteRequest(name="site"))
        assert answer.code == networking.DELETE_ROUTE_OK
        assert (await request(ingress.url + "/"))[0] == 404
        listed = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
        assert list(listed.routes) == []
        # A second time changes nothing, and succeeds.
        await ingress.fuse.routes.DeleteRoute(networking.DeleteRouteRequest(name="site"))


async def test_a_plain_http_route_is_passed_untouched(ingress: Ingress) -> None:
    await ingress.store_descriptors(ECHO, echo_files())
    with http_backend() as backend:
        match = networking.RouteMatch(prefix="/")
        await ingress.add(networking.Route(name="all", match=match, endpoint=backend.endpoint))
        for content_type in ("application/json", "application/grpc-web+proto", "application/proto"):
            status, _, body = await request(
                ingress.url + SPEAK, b"\x00as it is", content_type=content_type
            )
            assert (status, body) == (200, b"\x00as it is"), content_type
            assert backend.metadata["content-type"] == content_type


async def test_wrong_input_is_answered_with_the_field(ingress: Ingress) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ingress.add(networking.Route(name="x", match=networking.RouteMatch(prefix="x")))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "route.match.prefix" in (caught.value.details() or "")


async def test_every_protocol_reaches_a_grpc_service(ingress: Ingress) -> None:
    """Native gRPC, Connect, gRPC-Web and JSON, all by one route."""
    await ingress.store_descriptors(ECHO, echo_files())
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        url = ingress.url + SPEAK

        async with grpc.aio.insecure_channel(ingress.address) as channel:
            said = await echo_grpc.EchoServiceStub(channel).Speak(
                echo.SpeakRequest(input="hello"), timeout=5
            )
            assert said.output == "hello"

        status, headers, body = await request(
            url, HELLO, content_type="application/proto", connect_protocol_version="1"
        )
        assert (status, headers["content-type"]) == (200, "application/proto")
        assert echo.SpeakResponse.FromString(body).output == "hello"

        framed = b"\x00" + len(HELLO).to_bytes(4, "big") + HELLO
        status, headers, body = await request(
            url, framed, content_type="application/grpc-web+proto"
        )
        assert (status, headers["content-type"]) == (200, "application/grpc-web+proto")
        length = int.from_bytes(body[1:5], "big")
        assert echo.SpeakResponse.FromString(body[5 : 5 + length]).output == "hello"
        assert body[5 + length] == 0x80  # the trailers' frame
        assert b"grpc-status:0" in body

        status, _, body = await request(url, b'{"input":"hi"}', content_type="application/json")
        assert (status, json.loads(body)) == (200, {"output": "hi"})

        status, headers, body = await request(
            url, b'{"input":"hi"}', content_type="application/json", connect_protocol_version="1"
        )
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(body) == {"output": "hi"}


async def test_messages_as_large_as_blueprints_values_pass(ingress: Ingress) -> None:
    """Connect and JSON are buffered on the way; a value of 1 MiB, and JSON makes it larger."""
    await ingress.store_descriptors(ECHO, echo_files())
    large = "x" * (3 << 20)
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        said = echo.SpeakRequest(input=large).SerializeToString()
        for body, headers in (
            (said, {"content_type": "application/proto", "connect_protocol_version": "1"}),
            (json.dumps({"input": large}).encode(), {"content_type": "application/json"}),
        ):
            status, _, answer = await request(ingress.url + SPEAK, body, **headers)
            assert status == 200, answer
            assert len(answer) >= len(large)


async def test_json_works_whether_descriptors_come_before_or_after_the_route(
    ingress: Ingress,
) -> None:
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        await ingress.store_descriptors(ECHO, echo_files())

        async def transcoded() -> bool:
            status, _, body = await request(
                ingress.url + SPEAK, b'{"input":"hi"}', content_type="application/json"
            )
            return status == 200 and body == b'{"output":"hi"}'

        await eventually(transcoded)


async def test_the_backend_is_told_the_ingress_and_a_caller_cannot_forge_it(
    ingress: Ingress,
) -> None:
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        async with grpc.aio.insecure_channel(ingress.address) as channel:
            await echo_grpc.EchoServiceStub(channel).Speak(
                echo.SpeakRequest(), metadata=(("x-draft-ingress", "http://evil"),), timeout=5
            )
        assert backend.metadata["x-draft-ingress"] == f"http://{ingress.address}"


async def test_the_deadline_of_a_grpc_route_ends_as_deadline_exceeded(ingress: Ingress) -> None:
    async with grpc_backend() as backend:
        await ingress.add(
            echo_route(endpoint=backend.endpoint, timeout=Duration(nanos=200_000_000))
        )
        async with grpc.aio.insecure_channel(ingress.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await echo_grpc.EchoServiceStub(channel).Speak(
                    echo.SpeakRequest(input="wait"), timeout=20
                )
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_what_envoy_refuses_is_answered_in_its_words_and_leaves_no_trace(
    ingress: Ingress,
) -> None:
    await ingress.store_descriptors(ECHO, files_that_envoy_refuses())
    async with grpc_backend() as backend:
        with http_backend() as other:
            site = networking.RouteMatch(prefix="/site")
            await ingress.add(networking.Route(name="site", match=site, endpoint=other.endpoint))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ingress.add(echo_route(endpoint=backend.endpoint))
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "transcoding_filter" in (caught.value.details() or "")
            # What served goes on, and the next good route is let in.
            assert (await request(ingress.url + "/site"))[0] == 200
            good = networking.RouteMatch(prefix="/good")
            await ingress.add(networking.Route(name="good", match=good, endpoint=other.endpoint))
            assert (await request(ingress.url + "/good"))[0] == 200
    listed = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
    assert [route.name for route in listed.routes] == ["good", "site"]


async def test_a_refused_replacement_leaves_the_former_route_in_place(ingress: Ingress) -> None:
    await ingress.store_descriptors(ECHO, files_that_envoy_refuses())
    with http_backend() as backend:
        former = networking.Route(
            name="echo", match=networking.RouteMatch(prefix="/former"), endpoint=backend.endpoint
        )
        await ingress.add(former)
        with pytest.raises(grpc.aio.AioRpcError):
            await ingress.add(echo_route(endpoint=backend.endpoint))
        assert (await request(ingress.url + "/former"))[0] == 200

        async def restored() -> bool:
            answer = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
            return list(answer.routes) == [former]

        await eventually(restored)


async def test_weights_share_the_requests(ingress: Ingress) -> None:
    with http_backend() as light, http_backend() as heavy:
        weighted = [
            networking.WeightedEndpoint(endpoint=light.endpoint, weight=1),
            networking.WeightedEndpoint(endpoint=heavy.endpoint, weight=9),
        ]
        match = networking.RouteMatch(prefix="/")
        await ingress.add(networking.Route(name="all", match=match, endpoints=weighted))
        for _ in range(100):
            assert (await request(ingress.url + "/"))[0] == 200
    assert 5 <= light.calls <= 15
    assert light.calls + heavy.calls == 100


async def test_hosts_headers_prefixes_and_rewrites_select(ingress: Ingress) -> None:
    """The longest prefix wins; a route without a host also serves a host that has its own."""
    with http_backend(b"a") as a, http_backend(b"b") as b, http_backend(b"c") as c:
        match = networking.RouteMatch
        await ingress.add(networking.Route(name="a", match=match(prefix="/"), endpoint=a.endpoint))
        await ingress.add(
            networking.Route(
                name="b",
                match=match(prefix="/b", host="shop.example.com"),
                endpoint=b.endpoint,
                rewrite_prefix="/",
            )
        )
        await ingress.add(
            networking.Route(
                name="c",
                match=match(
                    prefix="/b",
                    headers=networking.HeaderMatchOptions(key="X-Beta", value="yes"),
                ),
                endpoint=networking.Endpoint(host="localhost", port=c.port),
            )
        )
        url, shop = ingress.url, "Shop.example.com:1234"
        assert (await request(url + "/b"))[2] == b"a"
        assert (await request(url + "/b/x", host=shop))[2] == b"b"
        assert b.metadata[":path"] == "/x"
        assert (await request(url + "/b?q=1", host=shop))[2] == b"b"
        assert b.metadata[":path"] == "/?q=1"
        assert (await request(url + "/other", host=shop))[2] == b"a"
        assert (await request(url + "/b", x_beta="yes"))[2] == b"c"
        assert (await request(url + "/b", x_beta="no"))[2] == b"a"
        empty = match(prefix="/", headers=networking.HeaderMatchOptions(key="X-Empty"))
        await ingress.add(networking.Route(name="d", match=empty, endpoint=b.endpoint))
        assert (await request(url + "/", x_empty=""))[2] == b"b"
        assert (await request(url + "/", x_empty="no"))[2] == b"a"


async def test_fuse_tells_where_it_is(ingress: Ingress) -> None:
    answer = await ingress.blueprint.keys.Get(
        service_pb2.GetRequest(key="fuse_address", value=value())
    )
    assert models_pb2.Value.FromString(answer.value.value).data == ingress.fuse.url
