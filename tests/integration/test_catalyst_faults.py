"""No acknowledged event is lost, whatever is killed and however slow a consumer is."""

import asyncio
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

from tests.support.catalyst import ALL, consuming, event, events, produce, running_catalyst
from tests.support.nats import Nats, running_nats


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def channel(nats: Nats) -> AsyncIterator[grpc.aio.Channel]:
    async with running_catalyst(nats.url) as channel:
        yield channel


class Producing:
    """Produces numbered events without an end; `acknowledged` grows with the answers."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.acknowledged: list[str] = []
        self._finishing = False
        self._call = producer_pb2_grpc.ProducerStub(channel).Produce()
        self._writing = asyncio.create_task(self._write())
        self._reading = asyncio.create_task(self._read())

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.acknowledged) < count:
                assert not self._reading.done(), self._reading
                await asyncio.sleep(0.001)

    async def finish(self) -> None:
        """Stops sending and waits for the last answer."""
        self._finishing = True
        await self._writing
        await asyncio.wait_for(self._reading, 30)

    async def _write(self) -> None:
        number = 0
        while not self._finishing:
            await self._call.write(producer_pb2.ProduceRequest(message=event(f"e{number}")))
            number += 1
        await self._call.done_writing()

    async def _read(self) -> None:
        async for answer in self._call:
            assert not answer.HasField("error"), answer.error
            self.acknowledged.append(answer.id)


async def test_what_is_acknowledged_outlives_a_kill_of_the_engine(
    nats: Nats, channel: grpc.aio.Channel
) -> None:
    """Killed in full flight, three times; the producer's stream goes on over every kill."""
    producing = Producing(channel)
    for kill in range(1, 4):
        await producing.until(200 * kill)
        nats.restart()
    await producing.until(len(producing.acknowledged) + 100)
    await producing.finish()
    async with consuming(channel, start=ALL, max_batch=100) as consumer:
        assert await consumer.until(len(producing.acknowledged)) == producing.acknowledged


async def test_consumers_live_through_a_kill_of_the_engine(
    nats: Nats, channel: grpc.aio.Channel
) -> None:
    """Nothing twice, nothing missing, in order, without calling again."""
    async with consuming(channel) as one, consuming(channel, start=ALL, max_batch=50) as two:
        producing = Producing(channel)
        for kill in range(1, 3):
            await producing.until(200 * kill)
            nats.restart()
        await producing.until(len(producing.acknowledged) + 100)
        await producing.finish()
        assert await one.until(len(producing.acknowledged)) == producing.acknowledged
        assert await two.until(len(producing.acknowledged)) == producing.acknowledged


async def test_a_slow_consumer_gets_everything_and_stops_nobody(
    channel: grpc.aio.Channel,
) -> None:
    """It takes nothing until three times what Catalyst keeps in memory has passed."""
    slow = consumer_pb2_grpc.ConsumerStub(channel).Consume(consumer_pb2.ConsumeRequest())
    await slow.initial_metadata()
    sent = events(1200, text="x" * 20_000)
    async with consuming(channel) as quick:
        for at in range(0, len(sent), 100):
            await produce(channel, [sent[at : at + 100]])
        expected = [event.id for event in sent]
        assert await quick.until(len(sent)) == expected
    seen = []
    async with asyncio.timeout(30):
        while len(seen) < len(sent):
            response = await slow.read()
            assert isinstance(response, consumer_pb2.ConsumeResponse)
            seen.append(response.message.id)
    slow.cancel()
    assert seen == expected
