"""make_server(): what every gRPC server of the house does, on real loopback connections."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as keys_rpc
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from chassis.clients import MAX_MESSAGE, Address, connect
from chassis.errors import BindError, ChassisError, NotFound
from chassis.server import Server, make_server
from tests.support.waiting import until

ECHO = "examples.echo.v1.EchoService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Code = grpc.StatusCode


class Echo(echo_rpc.EchoServiceServicer):
    """Does what the input says."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        match request.input:
            case "absent":
                raise NotFound("nobody by that name")
            case "broken":
                raise ValueError("the password is swordfish")
            case "abort":
                await context.abort(Code.ABORTED, "try again")
            case "other service":
                async with connect("127.0.0.1:1") as nowhere:
                    await echo_rpc.EchoServiceStub(nowhere).Speak(echo.SpeakRequest())
            case "slow":
                self.entered.set()
                await self.go_on.wait()
        return echo.SpeakResponse(output=request.input)


class Keys(keys_rpc.KeyValueServiceServicer):
    """One endless stream; everything else is left as generated."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()

    async def Watch(
        self, request: keys.WatchRequest, context: Any
    ) -> AsyncIterator[keys.WatchResponse]:
        try:
            if request.prefix == "broken":
                raise ValueError("the password is swordfish")
            yield keys.WatchResponse(revision=1)
            await asyncio.Event().wait()
        finally:
            self.closed.set()


class InThreads(echo_rpc.EchoServiceServicer):
    """Plain functions are served too."""

    def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        if request.input == "absent":
            raise NotFound("nobody by that name")
        if request.input == "broken":
            raise ValueError("the password is swordfish")
        return echo.SpeakResponse(output=request.input)


class StreamInThreads(keys_rpc.KeyValueServiceServicer):
    def Watch(self, request: keys.WatchRequest, context: Any) -> Iterator[keys.WatchResponse]:
        yield keys.WatchResponse(revision=1)
        raise NotFound("no more")


@asynccontextmanager
async def serving(
    *servicers: object, **options: Any
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = make_server(servicers, Address("127.0.0.1", 0), **options)
    await server.start()
    try:
        async with connect(server.address) as channel:
            yield server, channel
    finally:
        await server.stop(0)


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a call that has to fail did."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), failed.value.details() or ""


def speak(channel: grpc.aio.Channel, text: str) -> Any:
    return echo_rpc.EchoServiceStub(channel).Speak(echo.SpeakRequest(input=text), timeout=10)


def watch(channel: grpc.aio.Channel, **request: Any) -> Any:
    return keys_rpc.KeyValueServiceStub(channel).Watch(keys.WatchRequest(**request))


async def health(channel: grpc.aio.Channel, service: str = "") -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
    return int(answer.status)


@pytest.mark.parametrize("servicer", [Echo, InThreads])
async def test_an_error_of_ours_is_the_calls_status(servicer: type) -> None:
    async with serving(servicer()) as (_, channel):
        assert (await speak(channel, "hello")).output == "hello"
        assert await failure(speak(channel, "absent")) == (Code.NOT_FOUND, "nobody by that name")


@pytest.mark.parametrize("servicer", [Echo, InThreads])
async def test_any_other_error_is_logged_here_and_hidden_from_the_caller(
    servicer: type, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(servicer()) as (_, channel):
        code, details = await failure(speak(channel, "broken"))
    assert code is Code.INTERNAL
    assert "swordfish" not in details
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "Speak failed" in record.getMessage()
    assert record.exc_info
    assert "swordfish" in str(record.exc_info[1])


async def test_an_abort_of_the_servicer_passes_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Echo()) as (_, channel):
        assert await failure(speak(channel, "abort")) == (Code.ABORTED, "try again")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_needed_service_that_is_away_says_try_again_and_not_where_it_is() -> None:
    async with serving(Echo()) as (_, channel):
        code, details = await failure(speak(channel, "other service"))
    assert code is Code.UNAVAILABLE
    assert "127.0.0.1" not in details


async def test_errors_inside_a_stream_are_treated_alike(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Keys()) as (_, channel):
        code, details = await failure(watch(channel, prefix="broken").read())
    assert code is Code.INTERNAL
    assert "swordfish" not in details
    assert "Watch failed" in caplog.text
    async with serving(StreamInThreads()) as (_, channel):
        stream = watch(channel)
        assert (await stream.read()).revision == 1
        assert await failure(stream.read()) == (Code.NOT_FOUND, "no more")


async def test_what_a_servicer_leaves_out_is_unimplemented(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Keys()) as (_, channel):
        call = keys_rpc.KeyValueServiceStub(channel).Get(keys.GetRequest(), timeout=10)
        code, details = await failure(call)
    assert code is Code.UNIMPLEMENTED
    assert "Get is not implemented here" in details
    assert not caplog.records


async def test_a_stream_whose_caller_left_is_closed() -> None:
    servicer = Keys()
    async with serving(servicer) as (_, channel):
        stream = watch(channel)
        await stream.read()
        stream.cancel()
        await asyncio.wait_for(servicer.closed.wait(), 10)


async def test_a_stop_ends_open_streams_long_before_its_grace_and_says_call_again() -> None:
    servicer = Keys()
    async with serving(servicer) as (server, channel):
        stream = watch(channel)
        healths = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        await asyncio.gather(stream.read(), healths.read())
        began = time.monotonic()
        await server.stop(60)
        assert time.monotonic() - began < 30
        code, details = await failure(stream.read())
        assert code is Code.UNAVAILABLE
        assert "call again" in details
        assert servicer.closed.is_set()
        assert (await healths.read()).status == NOT_SERVING


async def test_a_stop_lets_a_running_call_finish() -> None:
    servicer = Echo()
    async with serving(servicer) as (server, channel):
        call = speak(channel, "slow")
        await asyncio.wait_for(servicer.entered.wait(), 10)
        stopping = asyncio.create_task(server.stop(60))
        await until(lambda: not stopping.done())
        servicer.go_on.set()
        assert (await call).output == "slow"
        await asyncio.wait_for(stopping, 10)


async def test_a_stop_aborts_what_outlasts_its_grace() -> None:
    servicer = Echo()
    async with serving(servicer) as (server, channel):
        call = speak(channel, "slow")
        await asyncio.wait_for(servicer.entered.wait(), 10)
        await server.stop(0.05)
        assert (await failure(call))[0] in (Code.UNAVAILABLE, Code.CANCELLED)


async def test_health_is_told_for_the_server_and_each_service() -> None:
    async with serving(Echo(), Keys()) as (server, channel):
        assert await health(channel) == SERVING
        assert await health(channel, ECHO) == SERVING
        await server.set_serving(False)
        assert await health(channel) == NOT_SERVING
        assert await health(channel, ECHO) == NOT_SERVING
        code, _ = await failure(
            health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="unknown")
            )
        )
        assert code is Code.NOT_FOUND


async def test_reflection_lists_the_services() -> None:
    async with serving(Echo()) as (_, channel):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        stream = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        answer = await stream.read()
        listed = {service.name for service in answer.list_services_response.service}
        assert {ECHO, "grpc.health.v1.Health"} <= listed


async def test_a_server_that_does_not_reflect_says_that_it_knows_no_such_call() -> None:
    async with serving(Echo(), reflects=False) as (_, channel):
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        stream = stub.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        assert (await failure(stream.read()))[0] is Code.UNIMPLEMENTED
        assert (await speak(channel, "hi")).output == "hi"


async def test_a_message_may_be_larger_than_grpc_allows_by_default_but_not_endless() -> None:
    async with serving(Echo()) as (_, channel):
        large = "x" * (6 << 20)
        assert (await speak(channel, large)).output == large
        code, _ = await failure(speak(channel, "x" * (MAX_MESSAGE + 1)))
        assert code is Code.RESOURCE_EXHAUSTED


async def test_a_taken_address_is_named_and_what_to_set(capfd: pytest.CaptureFixture[str]) -> None:
    async with serving(Echo()) as (server, _):
        with pytest.raises(BindError, match="it is taken; set service") as taken:
            make_server([Echo()], server.address)
        assert str(server.address) in str(taken.value)
    with pytest.raises(BindError, match=r"cannot listen on 192\.0\.2\.1:0"):
        make_server([Echo()], Address("192.0.2.1", 0))
    assert capfd.readouterr().err == ""  # gRPC's own lines would be no help


async def test_what_is_no_servicer_is_refused() -> None:
    with pytest.raises(ChassisError, match="object is no servicer"):
        make_server([object()], Address("127.0.0.1", 0))


async def test_frequent_pings_are_no_reason_to_hang_up() -> None:
    """Clients ping every 10 s, also when they have nothing to say; gRPC allows 5 minutes."""
    async with serving(Keys()) as (server, _):
        eager = [
            ("grpc.keepalive_time_ms", 5_000),
            ("grpc.http2.ping_timeout_ms", 1_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ]
        async with grpc.aio.insecure_channel(str(server.address), options=eager) as channel:
            await channel.channel_ready()
            stream = watch(channel)
            assert (await stream.read()).revision == 1
