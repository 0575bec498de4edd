"""Where other services are, by name, as the registry has it: `Clients` follows every service that
is called, `Instances` picks one for a call."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import grpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

from chassis.clients import connect
from chassis.proof import Prove
from chassis.tls import Identity, Secure

log = logging.getLogger(__name__)

BLUEPRINT, CATALYST, FUSE = CORE = ("blueprint", "catalyst", "fuse")
"""Services that are told who calls. Others could pass on what proves it."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_FIRST_LOOK, _LONGEST_LOOK = 0.002, 0.1  # seconds between two at the states of channels
_FAREWELL = 30.0  # seconds that calls on an instance that left may go on
_READY = grpc.ChannelConnectivity.READY
_FAILING = grpc.ChannelConnectivity.TRANSIENT_FAILURE


class Instances:
    """The running, healthy instances of one service, and a channel to each."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._leaving: dict[grpc.aio.Channel, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._turn = 0
        self._prove: Prove | None = None
        self._secure: Secure | None = None

    @property
    def known(self) -> bool:
        """Whether there is any."""
        return bool(self._channels)

    def connected(self) -> grpc.aio.Channel | None:
        """One that is connected, each in turn."""
        return self._next([channel for channel, state in self._states() if state is _READY])

    async def any(self, *, patient: bool) -> grpc.aio.Channel:
        """The first that is connected, waiting for one to come. When all that there are cannot be
        reached, one of those, unless `patient`: a call on it then says why."""
        look = _FIRST_LOOK
        while (channel := self.connected()) is None:
            states = self._states()
            if states and not patient and all(state is _FAILING for _, state in states):
                return states[self._turn % len(states)][0]
            self._changed.clear()
            # We look: to wait until gRPC tells that a state changed was seen to hang, under load.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(look if states else None):
                    await self._changed.wait()
            look = min(look * 2, _LONGEST_LOOK)
        return channel

    async def follow(self, blueprint: grpc.aio.Channel) -> None:
        """Keep them as the registry has them, until cancelled. While Blueprint is away those that
        were known last are called."""
        stub = rpc.ServiceDiscoveryServiceStub(blueprint)
        request = pb.WatchRequest(filter=pb.Filter(name=self.service))
        pause, said = _FIRST_PAUSE, ""
        while True:
            known: dict[str, str] = {}
            synced = False
            why = "Blueprint ended the stream"
            try:
                async for change in stub.Watch(request):
                    if change.kind == pb.WatchResponse.KIND_SYNCED:
                        synced = True
                    elif change.kind == pb.WatchResponse.KIND_PUT and _callable(change.process):
                        known[change.process.pid] = change.process.ip_address
                    else:
                        known.pop(change.process.pid, None)
                    if synced:
                        pause, said = _FIRST_PAUSE, ""
                        self.set(set(known.values()))
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
            if why != said:  # once, not at every attempt
                log.info("service %s cannot be followed: %s", self.service, why)
                said = why
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def introduce(self, prove: Prove | None, tls: Identity | None) -> None:
        """From now on prove with each call who makes it, to who does not pass that on, and open
        encrypted connections, to who proves to be that service."""
        self._prove = prove
        self._secure = tls.to(self.service) if tls else None

    def set(self, addresses: set[str]) -> None:
        """Be at these addresses from now on. Calls that run on others may end."""
        for address in self._channels.keys() - addresses:
            channel = self._channels.pop(address)
            task = self._leaving[channel] = asyncio.create_task(channel.close(_FAREWELL))
            task.add_done_callback(partial(self._left, channel))
        for address in sorted(addresses - self._channels.keys()):
            self._channels[address] = connect(address, self._prove, self._secure)
        self._changed.set()

    async def close(self) -> None:
        """End all calls."""
        for task in self._leaving.values():
            task.cancel()
        channels = [*self._leaving, *self._channels.values()]
        self._channels.clear()
        self._changed = asyncio.Event()  # the next loop's
        await asyncio.gather(*(channel.close() for channel in channels))

    def _left(self, channel: grpc.aio.Channel, _: object) -> None:
        self._leaving.pop(channel, None)

    def _states(self) -> list[tuple[grpc.aio.Channel, grpc.ChannelConnectivity]]:
        return [
            (channel, channel.get_state(try_to_connect=True)) for channel in self._channels.values()
        ]

    def _next(self, channels: list[grpc.aio.Channel]) -> grpc.aio.Channel | None:
        if not channels:
            return None
        self._turn += 1
        return channels[self._turn % len(channels)]


class Clients:
    """Every service that this one calls; they are followed while it runs."""

    def __init__(self) -> None:
        self._instances: dict[str, Instances] = {}
        self._fixed: Mapping[str, str] = {}
        self._blueprint: Callable[[], grpc.aio.Channel] | None = None
        self._prove: Prove | None = None
        self._tls: Identity | None = None
        self._watch: Callable[[asyncio.Task[Any], str], None]
        self._tasks: list[asyncio.Task[None]] = []

    def instances(self, service: str) -> Instances:
        """Those of a service; while we run they are looked for at once, else from `open` on."""
        if service not in self._instances:
            instances = Instances(service)
            if self._blueprint is not None:
                self._begin(instances)
            self._instances[service] = instances
        return self._instances[service]

    def open(
        self,
        blueprint: Callable[[], grpc.aio.Channel],
        *,
        fixed: Mapping[str, str],
        watch: Callable[[asyncio.Task[Any], str], None],
        prove: Prove | None = None,
        tls: Identity | None = None,
    ) -> None:
        """Begin to follow. `fixed` are addresses of services that are not looked for; `watch` is
        told each task, which ends by failing only; `prove` is for core services: who we are; `tls`
        for all of them."""
        self._blueprint, self._fixed, self._watch = blueprint, fixed, watch
        self._prove, self._tls = prove, tls
        for instances in self._instances.values():
            self._begin(instances)

    async def close(self) -> None:
        """End all calls."""
        self._blueprint = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await asyncio.gather(*(each.close() for each in self._instances.values()))

    def _begin(self, instances: Instances) -> None:
        assert self._blueprint is not None
        prove = self._prove if instances.service in CORE else None
        instances.introduce(prove, self._tls)
        if instances.service in self._fixed:
            instances.set({self._fixed[instances.service]})
            return
        task = asyncio.create_task(instances.follow(self._blueprint()))
        self._tasks.append(task)
        self._watch(task, f"following service {instances.service}")


def _callable(process: models.Process) -> bool:
    return (
        process.running_state == models.PROCESS_RUNNING
        and process.health_state == models.PROCESS_HEALTHY
        and bool(process.ip_address)
    )
