"""The process in the registry: Initialize, then Synchronize for as long as it lives, Finalize.

Blueprint may be late, gone or new: nothing of that ends the process. It keeps its pid over a
break of the stream, and initializes anew when Blueprint no longer knows it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import grpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

from chassis.clients import Address
from chassis.errors import ConfigError

log = logging.getLogger(__name__)

INSTANCE = "draft.instance"
"""Metadata key of an instance's stable name: a later process of that name replaces the entry."""

METRICS = "draft.metrics"
"""Metadata key of where Prometheus scrapes a process, as host:port."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
_CALL = 5.0  # seconds for one unary call
_FAREWELL = 1.5  # seconds for the last one
_MISSED = 3  # beats without an answer after which a stream counts as dead
_REFUSED = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)

Health = Literal["starting", "healthy", "unhealthy"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process says of itself."""

    name: str
    group: str
    nonce: Callable[[], str]
    address: Address
    metadata: Mapping[str, str]


class Registration:
    """Keeps one process in the registry. `on_registered` runs after each Initialize."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        identity: Identity,
        *,
        beat: float,
        on_registered: Callable[[], Awaitable[None]],
    ) -> None:
        self._stub = rpc.ServiceDiscoveryServiceStub(channel)
        self._identity = identity
        self._beat = beat
        self._on_registered = on_registered
        self.found = asyncio.Event()
        """Set once Blueprint has heard where we are, and how we do."""
        self._health: Health = "healthy"
        self._changed = asyncio.Event()
        self._process: models.ProcessIdentity | None = None
        self._published: asyncio.Task[None] | None = None
        self._answered = False  # on the stream of now
        self._known = False  # to Blueprint, under the pid of now

    @property
    def pid(self) -> str:
        """The pid that Blueprint issued, "" before it did."""
        return self._process.pid if self._process else ""

    @property
    def token(self) -> str:
        """What proves that we are that process, "" as long."""
        return self._process.token.jwt if self._process else ""

    def set_health(self, health: Health) -> None:
        """Tell the registry at once; the proxies hear it from there."""
        if health != self._health:
            self._health = health
            self._changed.set()

    async def run(self) -> None:
        """Register and stay registered until cancelled."""
        pause, said = _FIRST_PAUSE, ""
        try:
            while True:
                self._answered = False
                try:
                    if self._process is None:
                        await self._initialize()
                    await self._synchronize()
                    why = "Blueprint ended the stream"
                except TimeoutError:
                    why = "Blueprint does not answer"
                except ConfigError as error:  # the nonce's file
                    why = str(error)
                except grpc.aio.AioRpcError as error:
                    why = f"{error.code().name}: {error.details()}"
                    if error.code() in _REFUSED:
                        self._process = None
                        if self._known:  # and now it is not: no reason to wait long
                            pause, self._known = _FIRST_PAUSE, False
                if self._answered:  # it was well until now
                    pause, said = _FIRST_PAUSE, ""
                if why != said:  # once, not at every attempt
                    log.warning("not registered: %s; trying again", why)
                    said = why
                # Not all at once: a Blueprint that comes back meets everybody.
                await asyncio.sleep(pause * random.uniform(0.5, 1))
                pause = min(pause * 2, _LONGEST_PAUSE)
        finally:
            if self._published:
                self._published.cancel()

    async def finalize(self) -> None:
        """Leave the registry. To be called after `run` was cancelled."""
        if self._process is None:
            return
        request = pb.FinalizeRequest(pid=self._process.pid, token=self._process.token.jwt)
        try:
            await self._stub.Finalize(request, timeout=_FAREWELL)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _REFUSED:  # of those it is not known, and that is what we want
                # The lease ends it soon; nothing more can be done from here.
                log.warning("not finalized: %s: %s", error.code().name, error.details())

    async def _initialize(self) -> None:
        told = self._identity
        request = pb.InitializeRequest(
            name=told.name,
            nonce=told.nonce(),
            group=told.group,
            metadata=[models.Metadata(key=k, value=v) for k, v in sorted(told.metadata.items())],
        )
        answer = await self._stub.Initialize(request, timeout=_CALL)
        self._process = answer.process_identity
        log.info("registered", extra={"pid": self._process.pid, "address": told.address})
        if self._published:
            self._published.cancel()
        self._published = asyncio.create_task(self._on_registered_logged())

    async def _on_registered_logged(self) -> None:
        try:
            await self._on_registered()
        except Exception:
            log.exception("what follows a registration failed")

    async def _synchronize(self) -> None:
        """One stream; returns when Blueprint ends it, raises when it breaks or goes silent."""
        assert self._process is not None
        process = self._process
        stream = self._stub.Synchronize(self._beats(process))
        try:
            while True:
                async with asyncio.timeout(max(self._beat * _MISSED, _CALL)):
                    answer = await stream.read()
                if answer is grpc.aio.EOF:
                    # A refusal arrives as the stream's status.
                    if await stream.code() is not grpc.StatusCode.OK:
                        raise grpc.aio.AioRpcError(
                            await stream.code(),
                            await stream.initial_metadata(),
                            await stream.trailing_metadata(),
                            await stream.details(),
                        )
                    return
                if isinstance(answer, pb.ClusterDetails) and answer.token.jwt:
                    process.token.CopyFrom(answer.token)
                self._answered = self._known = True
                self.found.set()
        finally:
            stream.cancel()

    async def _beats(self, process: models.ProcessIdentity) -> AsyncIterator[pb.ClientDetails]:
        while True:
            self._changed.clear()
            yield self._details(process)
            try:
                async with asyncio.timeout(self._beat):
                    await self._changed.wait()
            except TimeoutError:
                pass  # nothing changed: a plain sign of life

    def _details(self, process: models.ProcessIdentity) -> pb.ClientDetails:
        states = {
            "starting": (models.PROCESS_STARTING, models.PROCESS_UNHEALTHY),
            "healthy": (models.PROCESS_RUNNING, models.PROCESS_HEALTHY),
            "unhealthy": (models.PROCESS_RUNNING, models.PROCESS_UNHEALTHY),
        }
        running, health = states[self._health]
        return pb.ClientDetails(
            pid=process.pid,
            token=process.token.jwt,
            running_state=running,
            health_state=health,
            process_kind=models.SERVER_PROCESS,
            advertise_address=str(self._identity.address),
        )
