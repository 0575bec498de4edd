"""Catalyst for a test: in process over real gRPC and a real NATS, and clients that say little."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

import grpc
from draft_api.core.message_broker.actors.v1 import (
    consumer_pb2,
    consumer_pb2_grpc,
    models_pb2,
    producer_pb2,
    producer_pb2_grpc,
)
from draft_services.catalyst.service import Catalyst
from draft_services.catalyst.settings import Settings

from chassis.clients import Address
from chassis.server import make_server

CloudEvent = models_pb2.CloudEvent
StartPosition = consumer_pb2.StartPosition
ALL = StartPosition(all=True)


def event(
    id: str, *, type: str = "shop.order", source: str = "/shop", text: str = "", **more: object
) -> CloudEvent:
    """A valid event."""
    return CloudEvent(
        id=id,
        source=source,
        type=type,
        spec_version="1.0",
        text_data=text or f"text of {id}",
        **more,  # type: ignore[arg-type]
    )


def events(count: int, *, prefix: str = "e", **more: str) -> list[CloudEvent]:
    """Valid events, numbered."""
    return [event(f"{prefix}{number}", **more) for number in range(count)]


async def produce(
    channel: grpc.aio.Channel, sent: Iterable[CloudEvent | Sequence[CloudEvent]]
) -> list[producer_pb2.ProduceResponse]:
    """Sends events, and batches of them, on one stream; returns every answer."""

    def requests() -> Iterable[producer_pb2.ProduceRequest]:
        for each in sent:
            if isinstance(each, CloudEvent):
                yield producer_pb2.ProduceRequest(message=each)
            else:
                yield producer_pb2.ProduceRequest(batch=models_pb2.CloudEventBatch(events=each))

    call = producer_pb2_grpc.ProducerStub(channel).Produce(requests())
    return [answer async for answer in call]


class Consuming:
    """A consumer that reads in the background; `received` grows in the order of arrival."""

    def __init__(self, channel: grpc.aio.Channel, request: consumer_pb2.ConsumeRequest) -> None:
        self.received: list[consumer_pb2.ConsumeResponse] = []
        self.call = consumer_pb2_grpc.ConsumerStub(channel).Consume(request)
        self._changed = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    @property
    def events(self) -> list[CloudEvent]:
        """What was received, batches taken apart."""
        return [
            event
            for response in self.received
            for event in (response.batch.events or [response.message])
        ]

    @property
    def ids(self) -> list[str]:
        """The ids of what was received."""
        return [event.id for event in self.events]

    async def until(self, count: int, *, within: float = 20.0) -> list[str]:
        """The ids, once there are `count` of them."""
        async with asyncio.timeout(within):
            while len(self.events) < count:
                self._changed.clear()
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait({changed, self.reading}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                if self.reading.done():
                    self.reading.result()
        return self.ids

    async def _read(self) -> None:
        async for response in self.call:
            self.received.append(response)
            self._changed.set()


@contextlib.asynccontextmanager
async def consuming(
    channel: grpc.aio.Channel,
    *,
    type: str = "",
    source: str = "",
    start: StartPosition | None = None,
    max_batch: int = 0,
) -> AsyncIterator[Consuming]:
    """A consumer whose place in the log is fixed when the block begins."""
    consumer = Consuming(
        channel,
        consumer_pb2.ConsumeRequest(
            message=CloudEvent(type=type, source=source), start=start, max_batch=max_batch
        ),
    )
    try:
        await asyncio.wait_for(consumer.call.initial_metadata(), 20)
        yield consumer
    finally:
        consumer.call.cancel()
        consumer.reading.cancel()
        await asyncio.wait({consumer.reading})


@contextlib.asynccontextmanager
async def running_catalyst(
    nats: str, *, max_bytes: int = 0, max_age: float = 0.0
) -> AsyncIterator[grpc.aio.Channel]:
    """Catalyst in this process, and a channel to it."""
    async with (
        serving_catalyst(nats, max_bytes=max_bytes, max_age=max_age) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel


@contextlib.asynccontextmanager
async def serving_catalyst(
    nats: str, *, max_bytes: int = 0, max_age: float = 0.0
) -> AsyncIterator[str]:
    """Catalyst in this process; the address that it serves."""
    catalyst = Catalyst(Settings(nats=nats, max_store=max_bytes, max_age=max_age))
    stop = asyncio.Event()
    server = make_server(catalyst.servicers, Address("127.0.0.1", 0))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(catalyst.close)
        async with asyncio.timeout(20):
            await catalyst.open()
        await server.start()
        stack.push_async_callback(server.stop, 1)
        watching = asyncio.create_task(catalyst.watch(stop))
        stack.push_async_callback(asyncio.wait, {watching})
        stack.callback(stop.set)
        yield str(server.address)
        assert not watching.done(), watching
