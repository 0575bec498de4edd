"""Catalyst as it is run: killed, stopped, and started before its engine."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from draft_api.core.message_broker.actors.v1 import (
    consumer_pb2,
    consumer_pb2_grpc,
    producer_pb2,
    producer_pb2_grpc,
)

from tests.support.catalyst import ALL, StartPosition, consuming, event, events, produce
from tests.support.catalyst_process import CatalystProcess, catalyst_process
from tests.support.nats import Nats, running_nats

RESIDENT_IDLE = 90 * 1024 * 1024


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
async def catalyst(tmp_path: Path, nats: Nats) -> AsyncIterator[CatalystProcess]:
    with catalyst_process(tmp_path / "catalyst", nats.url) as running:
        await running.serving()
        yield running


@contextlib.asynccontextmanager
async def connected(catalyst: CatalystProcess) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(
        catalyst.address, options=[("grpc.max_reconnect_backoff_ms", 200)]
    ) as channel:
        yield channel


class Stubborn:
    """A producer and a consumer that call again whenever they are sent away.

    The producer sends anew what was not acknowledged; the consumer starts after the last sequence
    that it has seen.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.acknowledged: list[str] = []
        self.seen: list[str] = []

    async def produce(self, count: int) -> None:
        while len(self.acknowledged) < count:
            with contextlib.suppress(grpc.aio.AioRpcError):
                call = producer_pb2_grpc.ProducerStub(self._channel).Produce(
                    producer_pb2.ProduceRequest(message=event(f"e{number}"))
                    for number in range(len(self.acknowledged), count)
                )
                async for answer in call:
                    assert not answer.HasField("error"), answer.error
                    self.acknowledged.append(answer.id)
            await asyncio.sleep(0.02)

    async def consume(self, count: int) -> None:
        start = ALL
        while len(self.seen) < count:
            with contextlib.suppress(grpc.aio.AioRpcError):
                call = consumer_pb2_grpc.ConsumerStub(self._channel).Consume(
                    consumer_pb2.ConsumeRequest(start=start)
                )
                async for response in call:
                    self.seen.append(response.message.id)
                    start = StartPosition(sequence=response.sequence + 1)
                    if len(self.seen) == count:
                        call.cancel()
                        return
            await asyncio.sleep(0.02)

    async def until_acknowledged(self, count: int) -> None:
        while True:
            if len(self.acknowledged) >= count:
                return
            await asyncio.sleep(0.002)


async def test_no_acknowledged_event_is_missed_over_kills_of_catalyst_and_engine(
    catalyst: CatalystProcess, nats: Nats
) -> None:
    """Every event once and in order, for a consumer that goes on by sequence."""
    count = 3000
    async with connected(catalyst) as channel:
        clients = Stubborn(channel)
        async with asyncio.timeout(90), asyncio.TaskGroup() as working:
            working.create_task(clients.produce(count))
            working.create_task(clients.consume(count))
            await clients.until_acknowledged(300)
            catalyst.kill()
            catalyst.start()
            await clients.until_acknowledged(800)
            nats.restart()
            await clients.until_acknowledged(1300)
            catalyst.kill()
            nats.restart()
            catalyst.start()
    assert clients.acknowledged == [f"e{number}" for number in range(count)]
    assert clients.seen == clients.acknowledged


async def test_it_waits_for_its_engine_and_serves_only_then(tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")
    with catalyst_process(tmp_path / "catalyst", nats.url) as catalyst:
        async with asyncio.timeout(20):
            while True:
                if "waiting for the engine" in await asyncio.to_thread(catalyst.log):
                    break
                await asyncio.sleep(0.02)
        assert await catalyst.health() != 1
        try:
            nats.start()
            await catalyst.serving()
        finally:
            nats.kill()


async def test_it_can_be_stopped_while_it_waits_for_its_engine(tmp_path: Path) -> None:
    with catalyst_process(tmp_path / "catalyst", Nats(tmp_path / "nats").url) as catalyst:
        async with asyncio.timeout(20):
            while True:
                if "waiting for the engine" in await asyncio.to_thread(catalyst.log):
                    break
                await asyncio.sleep(0.02)
        assert await asyncio.to_thread(catalyst.stop) == 0
        assert "Traceback" not in catalyst.log()


async def test_stopping_sends_consumers_and_producers_to_try_again(
    catalyst: CatalystProcess,
) -> None:
    async with connected(catalyst) as channel:
        producer = producer_pb2_grpc.ProducerStub(channel).Produce()
        await producer.write(producer_pb2.ProduceRequest(message=event("a")))
        answer = await producer.read()
        assert isinstance(answer, producer_pb2.ProduceResponse)
        assert answer.id == "a"
        async with consuming(channel) as consumer:
            began = time.monotonic()
            assert await asyncio.to_thread(catalyst.stop) == 0
            assert time.monotonic() - began < 4  # far below the grace for calls that run
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await consumer.until(1)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await producer.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_memory_is_bounded_however_many_are_slow(catalyst: CatalystProcess) -> None:
    """160 MB pass by eight consumers that take nothing; what is kept of it is bounded."""
    async with connected(catalyst) as channel:
        await produce(channel, [event("first")])
        assert catalyst.statistics().memory_info().rss < RESIDENT_IDLE
        slow = [
            consumer_pb2_grpc.ConsumerStub(channel).Consume(
                consumer_pb2.ConsumeRequest(max_batch=100)
            )
            for _ in range(8)
        ]
        for call in slow:
            await call.initial_metadata()
        for at in range(80):
            await produce(channel, [events(100, prefix=f"{at}-", text="x" * 20_000)])
        assert catalyst.statistics().memory_info().rss < RESIDENT_IDLE + 60 * 1024 * 1024
        for call in slow:
            call.cancel()
