"""Channels to other services, by name, through the registry.

A stub over a `ServiceChannel` calls whatever instances are running and healthy at that moment, in
turn. A call made before there is one waits for it, within its own timeout.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

from chassis.clients import connect
from chassis.errors import Unavailable

log = logging.getLogger(__name__)

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_FAREWELL = 30.0  # seconds that calls on an instance that left may go on


class ServiceChannel:
    """Looks like a channel to a generated stub; behind it are the instances of one service."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = 0
        self._someone = asyncio.Event()
        self._leaving: set[asyncio.Task[None]] = set()

    # What a generated stub asks of a channel

    def unary_unary(self, method: str, *codecs: Any, **more: Any) -> Callable[..., Any]:
        async def call(request: Any, *, timeout: float | None = None, **options: Any) -> Any:
            channel, left = await self._ready(timeout)
            return await channel.unary_unary(method, *codecs, **more)(
                request, timeout=left, **options
            )

        return call

    def unary_stream(self, method: str, *codecs: Any, **more: Any) -> Callable[..., Any]:
        async def call(
            request: Any, *, timeout: float | None = None, **options: Any
        ) -> AsyncIterator[Any]:
            channel, left = await self._ready(timeout)
            answers = channel.unary_stream(method, *codecs, **more)(
                request, timeout=left, **options
            )
            async for answer in answers:
                yield answer

        return call

    def stream_unary(self, method: str, *codecs: Any, **more: Any) -> Callable[..., Any]:
        return lambda *a, **o: self._now().stream_unary(method, *codecs, **more)(*a, **o)

    def stream_stream(self, method: str, *codecs: Any, **more: Any) -> Callable[..., Any]:
        return lambda *a, **o: self._now().stream_stream(method, *codecs, **more)(*a, **o)

    # Who is there

    async def follow(self, blueprint: grpc.aio.Channel) -> None:
        """Keep the instances as the registry has them, until cancelled. While Blueprint is away
        those that were known last are called."""
        stub = rpc.ServiceDiscoveryServiceStub(blueprint)
        pause = _FIRST_PAUSE
        while True:
            known: dict[str, str] = {}
            synced = False
            try:
                async for change in stub.Watch(pb.WatchRequest(filter=pb.Filter(name=self._name))):
                    if change.kind == pb.WatchResponse.KIND_SYNCED:
                        synced = True
                    elif change.kind == pb.WatchResponse.KIND_PUT and _callable(change.process):
                        known[change.process.pid] = change.process.ip_address
                    else:
                        known.pop(change.process.pid, None)
                    if synced:
                        pause = _FIRST_PAUSE
                        self._set(set(known.values()))
            except grpc.aio.AioRpcError as error:
                log.info("service %s cannot be followed: %s", self._name, error.details())
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def close(self) -> None:
        """End all calls."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    def _set(self, addresses: set[str]) -> None:
        for address in self._channels.keys() - addresses:
            task = asyncio.create_task(self._channels.pop(address).close(_FAREWELL))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        for address in sorted(addresses - self._channels.keys()):
            self._channels[address] = connect(address)
        if self._channels:
            self._someone.set()
        else:
            self._someone.clear()

    def _now(self) -> grpc.aio.Channel:
        """The next instance in turn; one that does not answer is passed over if another does."""
        channels = list(self._channels.values())
        if not channels:
            raise Unavailable(f'no instance of service "{self._name}" is running and healthy')
        self._turn += 1
        order = [channels[(self._turn + i) % len(channels)] for i in range(len(channels))]
        failing = grpc.ChannelConnectivity.TRANSIENT_FAILURE
        return next((c for c in order if c.get_state() is not failing), order[0])

    async def _ready(self, timeout: float | None) -> tuple[grpc.aio.Channel, float | None]:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(timeout):
                await self._someone.wait()
        except TimeoutError:
            raise Unavailable(
                f'no instance of service "{self._name}" appeared within {timeout:g} s'
            ) from None
        left = timeout and max(timeout - (asyncio.get_running_loop().time() - began), 0.001)
        return self._now(), left


def _callable(process: models.Process) -> bool:
    return (
        process.running_state == models.PROCESS_RUNNING
        and process.health_state == models.PROCESS_HEALTHY
        and bool(process.ip_address)
    )
