"""The connected proxies: the stream handler, and waiting for what they say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from draft_services.fuse.xds.messages import message
from draft_services.fuse.xds.resources import Snapshot
from draft_services.fuse.xds.session import REQUEST, Refusal, Session

log = logging.getLogger(__name__)

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


@dataclass(frozen=True, slots=True)
class Settlement:
    """What the proxies say to a snapshot: the refusals that decide, who has not accepted all of
    it, and how many have."""

    refusals: tuple[Refusal, ...] = ()
    behind: tuple[str, ...] = ()
    accepted: int = 0


@dataclass(eq=False, slots=True)
class _Stream:
    session: Session = field(default_factory=Session)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    open: bool = True
    # It let a wait run out. Nobody waits for it again until it speaks.
    frozen: bool = False


class Fleet:
    """Keeps every connected proxy at the published snapshot. Before the first one is published
    proxies connect and wait: an empty answer would make them forget all they serve."""

    def __init__(self, on_refusal: Callable[[Refusal], None] | None = None) -> None:
        self.on_refusal = on_refusal
        self._snapshot: Snapshot | None = None
        self._streams: set[_Stream] = set()
        self._moved = asyncio.Event()
        self.published = 0
        """Snapshots so far."""
        self.answers = {"ack": 0, "nack": 0}
        """What proxies said to what they were sent."""

    @property
    def proxies(self) -> int:
        """How many are connected."""
        return len(self._streams)

    def handler(self) -> grpc.GenericRpcHandler:
        """The aggregated discovery service, to be added to a gRPC server."""
        method: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
            self._serve,
            request_deserializer=message(REQUEST).FromString,
            response_serializer=lambda response: response.SerializeToString(),
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})

    def publish(self, snapshot: Snapshot) -> None:
        """Make this what every proxy should have."""
        self._snapshot = snapshot
        self.published += 1
        for stream in self._streams:
            stream.wake.set()

    async def settle(self, patience: float, decides: Callable[[Refusal], bool]) -> Settlement:
        """Wait until each proxy has said all it has to say to the published snapshot, or one
        refuses a part of it that decides; for at most `patience` seconds. One caller at a time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not (self._refusals(decides) or self._is_answered()):
                    self._moved.clear()
                    await self._moved.wait()
        refusals = tuple(self._refusals(decides))
        behind = [s for s in self._streams if not self._says(s.session.settled)]
        if not refusals:
            for stream in behind:
                stream.frozen = self._says(stream.session.pending)
        return Settlement(
            refusals=refusals,
            behind=tuple(sorted(stream.session.node for stream in behind)),
            accepted=len(self._streams) - len(behind),
        )

    def _is_answered(self) -> bool:
        return all(s.frozen or not self._says(s.session.pending) for s in self._streams)

    def _refusals(self, decides: Callable[[Refusal], bool]) -> list[Refusal]:
        if self._snapshot is None:
            return []
        found = (r for stream in self._streams for r in stream.session.refusals(self._snapshot))
        return [refusal for refusal in found if decides(refusal)]

    def _says(self, of: Callable[[Snapshot], bool]) -> bool:
        return self._snapshot is not None and of(self._snapshot)

    async def _serve(self, requests: AsyncIterator[Any], context: Any) -> None:
        stream = _Stream()
        self._streams.add(stream)
        reader = asyncio.create_task(self._read(stream, requests, context.peer()))
        try:
            while stream.open:
                stream.wake.clear()
                if self._snapshot is not None:
                    for response in stream.session.outgoing(self._snapshot):
                        await context.write(response)
                await self._woken(stream)
            await reader  # raises what ended it
        finally:
            reader.cancel()
            self._streams.discard(stream)
            self._moved.set()
            log.info("proxy %s disconnected", stream.session.node)

    async def _woken(self, stream: _Stream) -> None:
        """Return when there may be something to send."""
        warming = stream.session.warming_left()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(warming if warming > 0 else None):
                await stream.wake.wait()

    async def _read(self, stream: _Stream, requests: AsyncIterator[Any], peer: str) -> None:
        try:
            first = True
            async for request in requests:
                if request.response_nonce:
                    self.answers["nack" if request.HasField("error_detail") else "ack"] += 1
                for refusal in stream.session.receive(request):
                    log.error(
                        "proxy %s refuses %s %s: %s",
                        refusal.node,
                        refusal.type_url.rpartition(".")[2],
                        refusal.name,
                        refusal.words,
                    )
                    if self.on_refusal is not None:
                        self.on_refusal(refusal)
                if first:
                    log.info("proxy %s connected from %s", stream.session.node, peer)
                    first = False
                stream.frozen = False
                stream.wake.set()
                self._moved.set()
        finally:
            stream.open = False
            stream.wake.set()
