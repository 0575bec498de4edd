"""The ingress goes on serving: kills, a frozen proxy, Blueprint away, processes come and go."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.service_discovery.v1 import models_pb2
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_grpc
from draft_services.blueprint.settings import Settings

from tests.support import blueprint
from tests.support.envoy import free_port, running_envoy
from tests.support.fuse import fuse_node
from tests.support.ingress import (
    Backend,
    Ingress,
    Load,
    Process,
    echo_route,
    eventually,
    grpc_backend,
    load,
    running_ingress,
)
from tests.support.nats import running_nats
from tests.support.waiting import until

BEHIND = "draft-proxies-behind"


@pytest.fixture
async def ingress(tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(tmp_path) as running:
        yield running


@pytest.fixture
async def speak(ingress: Ingress) -> AsyncIterator[echo_grpc.EchoServiceAsyncStub]:
    async with grpc.aio.insecure_channel(ingress.address) as channel:
        yield echo_grpc.EchoServiceStub(channel)  # type: ignore[misc]


async def test_a_killed_fuse_costs_no_request_and_comes_back_with_its_routes(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    async def call() -> None:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)

    async with grpc_backend() as backend:
        for i in range(5):
            await ingress.add(echo_route(f"echo-{i}", endpoint=backend.endpoint))
        async with load(call) as met:
            await until(lambda: met.succeeded > 50)
            await ingress.fuse.crash()
            during = met.succeeded
            await until(lambda: met.succeeded > during + 100)
            await ingress.fuse.start()
            await eventually(lambda: _connected(ingress))
            after = met.succeeded
            await until(lambda: met.succeeded > after + 100)
        listed = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
        assert [route.name for route in listed.routes] == [f"echo-{i}" for i in range(5)]
        # It is in charge again.
        await ingress.add(echo_route("echo-5", endpoint=backend.endpoint))
    assert met.failures == []


async def _connected(ingress: Ingress) -> bool:
    stats = await asyncio.to_thread(ingress.envoy.stats, "^control_plane.connected_state$")
    return stats.get("control_plane.connected_state") == 1


async def test_a_killed_envoy_comes_back_with_all_routes(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        ingress.envoy.kill()
        ingress.envoy.start()
        answer = await speak.Speak(echo.SpeakRequest(input="back"), timeout=15, wait_for_ready=True)
        assert answer.output == "back"


async def test_a_frozen_proxy_is_waited_for_two_seconds_once_and_named(ingress: Ingress) -> None:
    async with grpc_backend() as backend:
        with ingress.envoy.frozen():
            for name, at_most in (("first", 3.5), ("second", 1.5)):
                began = time.monotonic()
                call = ingress.fuse.routes.AddRoute(
                    networking.AddRouteRequest(route=echo_route(name, endpoint=backend.endpoint))
                )
                assert (await call).code == networking.OK
                assert time.monotonic() - began < at_most
                trailing = dict(await call.trailing_metadata())
                assert trailing[BEHIND] == "envoy-test"

        # Thawed, it catches up and is waited for again.
        async def caught_up() -> bool:
            call = ingress.fuse.routes.AddRoute(
                networking.AddRouteRequest(route=echo_route("third", endpoint=backend.endpoint))
            )
            await call
            return BEHIND not in dict(await call.trailing_metadata())

        await eventually(caught_up)


async def test_a_proxy_whose_port_is_taken_is_named_and_not_waited_for(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats") as nats, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen = taken.getsockname()[1]
        async with (
            blueprint.blueprint_node(Settings(nats=nats.url)) as node,
            fuse_node(node.address, listen) as fuse,
        ):
            with running_envoy(tmp_path / "envoy", fuse.port, listen) as envoy:
                await until(lambda: "in use" in envoy.log(), within=20)
                began = time.monotonic()
                endpoint = networking.Endpoint(host="127.0.0.1", port=1)
                request = networking.AddRouteRequest(route=echo_route(endpoint=endpoint))
                call = fuse.routes.AddRoute(request)
                assert (await call).code == networking.OK
                assert dict(await call.trailing_metadata())[BEHIND] == "envoy-test"
                assert time.monotonic() - began < 1.5


async def test_with_no_proxy_a_route_is_stored(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats") as nats:
        async with (
            blueprint.blueprint_node(Settings(nats=nats.url)) as node,
            fuse_node(node.address, free_port()) as fuse,
        ):
            endpoint = networking.Endpoint(host="127.0.0.1", port=1)
            request = networking.AddRouteRequest(route=echo_route(endpoint=endpoint))
            call = fuse.routes.AddRoute(request, wait_for_ready=True)
            assert (await call).code == networking.OK
            listed = await fuse.routes.ListRoutes(networking.ListRoutesRequest())
            assert list(listed.routes) == [request.route]


async def test_two_fuse_nodes_agree(ingress: Ingress, tmp_path: Path) -> None:
    """A route added at one is served by the proxy of the other."""
    listen = free_port()
    async with fuse_node(ingress.blueprint.address, listen) as second:
        with running_envoy(tmp_path / "second", second.port, listen, "second") as envoy:
            await asyncio.to_thread(envoy.wait_listening)
            async with (
                grpc_backend() as backend,
                grpc.aio.insecure_channel(f"127.0.0.1:{listen}") as channel,
            ):
                await ingress.add(echo_route(endpoint=backend.endpoint))

                async def served() -> bool:
                    try:
                        await echo_grpc.EchoServiceStub(channel).Speak(
                            echo.SpeakRequest(input="x"), timeout=5
                        )
                    except grpc.aio.AioRpcError:
                        return False
                    return True

                await eventually(served)


async def test_while_blueprint_is_away_the_last_routes_serve_and_nothing_is_deleted(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    async def call() -> None:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)

    async with grpc_backend() as backend:
        await ingress.add(echo_route("by-service", service="echo"))
        await Process(ingress.blueprint, "echo", backend).report()
        await eventually(lambda: _answers(speak))
        async with load(call) as met:
            await ingress.link.cut()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ingress.add(echo_route("late", endpoint=backend.endpoint))
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "Blueprint" in (caught.value.details() or "")
            listed = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
            assert [route.name for route in listed.routes] == ["by-service"]
            during = met.succeeded
            await until(lambda: met.succeeded > during + 100)

            # What was written meanwhile is there once Blueprint is back.
            meanwhile = echo_route("meanwhile", endpoint=backend.endpoint)
            await ingress.blueprint.keys.Set(
                keys.SetRequest(key="meanwhile", value=blueprint.packed(meanwhile))
            )
            await ingress.link.mend()

            async def caught_up() -> bool:
                listed = await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
                return [route.name for route in listed.routes] == ["by-service", "meanwhile"]

            await eventually(caught_up, within=30)
        assert met.failures == []


async def test_a_fuse_that_knows_nothing_yet_takes_nothing_from_a_proxy(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    """Restarted while Blueprint is away: an empty answer would make the proxy forget its routes."""

    async def call() -> None:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)

    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        async with load(call) as met:
            await ingress.link.cut()
            await ingress.fuse.crash()
            await ingress.fuse.start()
            await eventually(lambda: _connected(ingress))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ingress.fuse.routes.ListRoutes(networking.ListRoutesRequest())
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            assert await _connected(ingress)  # all the while
            await ingress.link.mend()

            async def in_charge() -> bool:
                try:
                    await ingress.add(echo_route("more", endpoint=backend.endpoint))
                except grpc.aio.AioRpcError:
                    return False
                return True

            await eventually(in_charge)
        assert met.failures == []


async def test_a_service_is_balanced_over_its_processes_as_they_come(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    async def call() -> None:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)

    await ingress.add(echo_route(service="echo"))
    async with grpc_backend() as a, grpc_backend() as b, grpc_backend() as c:
        first = Process(ingress.blueprint, "echo", a)
        await first.report()
        await eventually(lambda: _answers(speak))
        async with load(call) as met:
            others = [Process(ingress.blueprint, "echo", each) for each in (b, c)]
            for process in others:
                await process.report()
            await until(lambda: b.calls and c.calls)
            a.calls = b.calls = c.calls = 0
            await until(lambda: a.calls + b.calls + c.calls > 300)
        assert met.failures == []
        shares = sorted((a.calls, b.calls, c.calls))
        assert shares[0] > shares[2] * 0.6, shares


async def _answers(speak: echo_grpc.EchoServiceAsyncStub) -> bool:
    try:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return True


async def test_a_drained_process_gets_nothing_new_and_no_request_fails(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    async def call() -> None:
        await speak.Speak(echo.SpeakRequest(input="x"), timeout=5)

    await ingress.add(echo_route(service="echo"))
    async with grpc_backend() as stays:
        staying = Process(ingress.blueprint, "echo", stays)
        await staying.report()
        async with grpc_backend() as goes:
            going = Process(ingress.blueprint, "echo", goes)
            await going.report()
            await eventually(lambda: _answers(speak))
            async with load(call) as met:
                await until(lambda: goes.calls > 20)
                await going.report(health_state=models_pb2.PROCESS_UNHEALTHY)
                await _quiet(goes, met)
                await going.leave()
        assert met.failures == []


async def _quiet(backend: Backend, met: Load) -> None:
    """Return once 100 requests went by and none came here."""

    async def none_of_a_hundred() -> bool:
        calls, total = backend.calls, met.succeeded
        await until(lambda: met.succeeded >= total + 100)
        return backend.calls == calls

    await eventually(none_of_a_hundred)


async def test_a_process_that_falls_silent_is_taken_out(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    await ingress.add(echo_route(service="echo"))
    async with grpc_backend() as backend:
        process = Process(ingress.blueprint, "echo", backend)
        await process.report()
        await eventually(lambda: _answers(speak))
        process.fall_silent()

        async def taken_out() -> bool:
            return not await _answers(speak)

        await eventually(taken_out)


async def test_a_wrong_route_written_past_fuse_is_left_out_and_the_rest_serves(
    ingress: Ingress, speak: echo_grpc.EchoServiceAsyncStub
) -> None:
    wrong = networking.Route(name="wrong", match=networking.RouteMatch(prefix="no slash"))
    await ingress.blueprint.keys.Set(
        keys.SetRequest(key="wrong", value=blueprint.packed(wrong)), timeout=5
    )
    async with grpc_backend() as backend:
        await ingress.add(echo_route(endpoint=backend.endpoint))
        assert await _answers(speak)
        await ingress.fuse.crash()
        await ingress.fuse.start()
        await eventually(lambda: _connected(ingress))
        assert await _answers(speak)
