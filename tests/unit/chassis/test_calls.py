"""Calls to a service by name, over real connections; where its instances are is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from draft_api.core.message_broker.actors.v1 import models_pb2 as events
from draft_api.core.message_broker.actors.v1 import producer_pb2, producer_pb2_grpc
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as keys_rpc
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_rpc

from chassis.calls import ServiceChannel
from chassis.clients import Address
from chassis.discovery import Instances
from chassis.server import make_server
from tests.support.envoy import free_port
from tests.support.waiting import until

Code = grpc.StatusCode


class Everything(
    echo_rpc.EchoServiceServicer,
    keys_rpc.KeyValueServiceServicer,
    producer_pb2_grpc.ProducerServicer,
):
    """An instance that says who it is."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        if request.input == "forever":
            self.entered.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if request.input == "deadline":
            return echo.SpeakResponse(output=str(context.time_remaining()))
        return echo.SpeakResponse(output=self.name)

    async def Watch(
        self, request: keys.WatchRequest, context: Any
    ) -> AsyncIterator[keys.WatchResponse]:
        for revision in range(3):
            yield keys.WatchResponse(revision=revision)

    async def Produce(
        self, requests: AsyncIterator[producer_pb2.ProduceRequest], context: Any
    ) -> AsyncIterator[producer_pb2.ProduceResponse]:
        async for request in requests:
            yield producer_pb2.ProduceResponse(id=request.message.id)


@asynccontextmanager
async def instance(name: str = "one", port: int = 0) -> AsyncIterator[tuple[Everything, str]]:
    """A server and its address."""
    servicer = Everything(name)  # type: ignore[abstract]
    server = make_server([servicer], Address("127.0.0.1", port))
    # All three at once: the adder of a servicer is that of its first generated base.
    for add in (
        keys_rpc.add_KeyValueServiceServicer_to_server,
        producer_pb2_grpc.add_ProducerServicer_to_server,
    ):
        add(servicer, server._server)
    await server.start()
    try:
        yield servicer, str(server.address)
    finally:
        await server.stop(0)


@pytest.fixture
async def instances() -> AsyncIterator[Instances]:
    made = Instances("shop")
    yield made
    await made.close()


def speaker(instances: Instances, timeout: float = 30) -> Any:
    channel: Any = ServiceChannel(instances, timeout)
    return echo_rpc.EchoServiceStub(channel)


async def speak(instances: Instances, **options: Any) -> str:
    answer = await speaker(instances).Speak(echo.SpeakRequest(input="hi"), **options)
    return str(answer.output)


async def failure(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    return failed.value.code(), failed.value.details() or ""


async def ready(instances: Instances, wanted: int) -> None:
    """Until so many are connected."""
    states = grpc.ChannelConnectivity
    await until(lambda: sum(state is states.READY for _, state in instances._states()) == wanted)


async def test_calls_go_to_the_instances_in_turn(instances: Instances) -> None:
    async with instance("one") as (_, one), instance("two") as (_, two):
        instances.set({one, two})
        await ready(instances, 2)
        heard = [await speak(instances) for _ in range(4)]
    assert heard in (["one", "two"] * 2, ["two", "one"] * 2)


async def test_not_one_call_meets_an_instance_that_cannot_be_reached(
    instances: Instances,
) -> None:
    async with instance("one") as (_, one):
        instances.set({one, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"})
        assert {await speak(instances, timeout=10) for _ in range(10)} == {"one"}


async def test_an_instance_that_comes_back_is_called_again(instances: Instances) -> None:
    port = free_port()
    async with instance("other") as (_, other):
        async with instance("one", port) as (_, one):
            instances.set({one, other})
            await ready(instances, 2)
        await ready(instances, 1)
        assert {await speak(instances) for _ in range(4)} == {"other"}
        async with instance("again", port):
            await ready(instances, 2)
            assert {await speak(instances) for _ in range(4)} == {"again", "other"}


async def test_an_instance_that_left_gets_no_new_calls_and_ends_those_it_has(
    instances: Instances,
) -> None:
    async with instance("one") as (_, one), instance("two") as (_, two):
        instances.set({one})
        channel: Any = ServiceChannel(instances)
        stream = producer_pb2_grpc.ProducerStub(channel).Produce()
        await stream.write(producer_pb2.ProduceRequest(message=events.CloudEvent(id="a")))
        assert (await stream.read()).id == "a"
        instances.set({two})
        assert {await speak(instances, timeout=10) for _ in range(3)} == {"two"}
        await stream.write(producer_pb2.ProduceRequest(message=events.CloudEvent(id="b")))
        assert (await stream.read()).id == "b"
        stream.cancel()


async def test_a_call_waits_for_the_first_instance(instances: Instances) -> None:
    call = asyncio.ensure_future(speak(instances, timeout=10))
    async with instance() as (_, one):
        instances.set({one})
        assert await call == "one"


async def test_a_call_that_waits_goes_to_whom_is_reachable_first(instances: Instances) -> None:
    call = asyncio.ensure_future(speak(instances, timeout=10))
    async with instance() as (_, one):
        instances.set({f"127.0.0.1:{free_port()}"})
        instances.set({f"127.0.0.1:{free_port()}", one})
        assert await call == "one"


async def test_what_a_call_waited_counts_towards_its_timeout(instances: Instances) -> None:
    call = speaker(instances).Speak(echo.SpeakRequest(input="deadline"), timeout=20)
    async with instance() as (_, one):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await until(lambda: loop.time() - began > 0.1)
        instances.set({one})
        assert float((await call).output) < 19.95


async def test_a_call_for_which_nobody_comes_fails_as_any_call_does(instances: Instances) -> None:
    code, details = await failure(speak(instances, timeout=0.05))
    assert code is Code.UNAVAILABLE
    assert details == (
        'no instance of service "shop" was running, healthy and reachable within 0.05 s'
    )


async def test_a_call_that_says_it_does_not_wait_fails_at_once(instances: Instances) -> None:
    code, _ = await failure(speak(instances, timeout=1000, wait_for_ready=False))
    assert code is Code.UNAVAILABLE


async def test_a_call_without_a_timeout_has_the_one_of_its_client(instances: Instances) -> None:
    request = echo.SpeakRequest(input="forever")
    code, _ = await failure(speaker(instances, timeout=0.1).Speak(request))
    assert code is Code.UNAVAILABLE  # nobody came
    async with instance() as (_, one):
        instances.set({one})
        await ready(instances, 1)
        code, _ = await failure(speaker(instances, timeout=0.1).Speak(request))
        assert code is Code.DEADLINE_EXCEEDED  # somebody does not answer


async def test_when_all_are_out_of_reach_a_call_fails_unless_it_waits(
    instances: Instances,
) -> None:
    port = free_port()
    instances.set({f"127.0.0.1:{port}"})
    code, details = await failure(speak(instances, timeout=30))
    assert code is Code.UNAVAILABLE
    assert str(port) in details  # gRPC's own words
    patient = asyncio.ensure_future(speak(instances, timeout=30, wait_for_ready=True))
    async with instance("late", port):
        assert await patient == "late"


async def test_a_call_that_waits_can_be_cancelled(instances: Instances) -> None:
    call = speaker(instances).Speak(echo.SpeakRequest())
    assert call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "waiting"])
async def test_cancelling_the_caller_cancels_the_call(
    connected: bool, instances: Instances
) -> None:
    async with instance() as (servicer, one):
        instances.set({one})
        if connected:
            await ready(instances, 1)
        call = speaker(instances).Speak(echo.SpeakRequest(input="forever"))
        caller = asyncio.create_task(_awaited(call))
        await until(servicer.entered.is_set)
        caller.cancel()
        await until(servicer.cancelled.is_set)
        await asyncio.wait([caller])
        assert caller.cancelled()


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "waiting"])
async def test_streams_work_in_both_directions(connected: bool, instances: Instances) -> None:
    async with instance() as (_, one):
        if connected:
            instances.set({one})
            await ready(instances, 1)
        channel: Any = ServiceChannel(instances)
        answers = keys_rpc.KeyValueServiceStub(channel).Watch(keys.WatchRequest())
        written = producer_pb2_grpc.ProducerStub(channel).Produce()
        iterated = producer_pb2_grpc.ProducerStub(channel).Produce(_requests("a", "b"))
        instances.set({one})

        assert [answer.revision async for answer in answers] == [0, 1, 2]
        assert [answer.id async for answer in iterated] == ["a", "b"]
        await written.write(producer_pb2.ProduceRequest(message=events.CloudEvent(id="c")))
        assert (await written.read()).id == "c"
        await written.done_writing()
        assert await written.read() is grpc.aio.EOF
        assert await written.code() is Code.OK


async def test_a_call_shows_what_came_with_the_answer(instances: Instances) -> None:
    call = speaker(instances).Speak(echo.SpeakRequest(), timeout=10)
    async with instance() as (_, one):
        instances.set({one})
        assert (await call).output == "one"
        assert await call.code() is Code.OK


async def _awaited(call: Any) -> Any:
    return await call


async def _requests(*ids: str) -> AsyncIterator[producer_pb2.ProduceRequest]:
    for each in ids:
        yield producer_pb2.ProduceRequest(message=events.CloudEvent(id=each))
