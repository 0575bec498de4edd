"""Clients of Blueprint who write down what they asked, and what they were told and when."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Sequence
from typing import Any, Literal

import grpc
from draft_api.core.registry.key_value.v1 import models_pb2
from draft_api.core.registry.key_value.v1.service_pb2 import (
    DeleteRequest,
    GetRequest,
    SetRequest,
    WatchRequest,
    WatchResponse,
)
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from tests.support.blueprint import UNLIMITED, value
from tests.support.linearizable import NOBODY_KNOWS, Operation

LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
# Without it a channel that lost its server tries again after ever longer waits.
EAGER = [*UNLIMITED, ("grpc.max_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]
_PATIENCE = 3.0
_PAUSE = 0.02


class Client:
    """Reads, writes, removes and swaps a few keys, and counts up in others."""

    def __init__(self, name: str, seed: int, history: dict[str, list[Operation]]) -> None:
        self.counted: list[tuple[int, str]] = []  # revisions, and the counter that went up with it
        self.answers = 0
        self._name = name
        self._random = random.Random(seed)
        self._history = history

    async def run(self, address: str, keys: Sequence[str], counters: Sequence[str]) -> None:
        """For ever."""
        async with grpc.aio.insecure_channel(address, options=EAGER) as channel:
            stub: Any = KeyValueServiceStub(channel)
            for number in itertools.count():
                try:
                    if number % 3:
                        await self._use(stub, self._random.choice(keys), f"{self._name}-{number}")
                    else:
                        await self._count(stub, self._random.choice(counters))
                    self.answers += 1
                except grpc.aio.AioRpcError as error:
                    if error.code() not in LOST:
                        raise
                    await asyncio.sleep(_PAUSE)

    async def _use(self, stub: Any, key: str, text: str) -> None:
        match self._random.choice(["read", "write", "remove", "swap"]):
            case "read":
                await self._read(stub, key)
            case "write":
                request = SetRequest(key=key, value=value(text))
                await self._change(stub.Set, request, "write", text)
            case "remove":
                await self._change(stub.Delete, DeleteRequest(key=key, value=value()), "write")
            case _:
                held, revision = await self._read(stub, key)
                request = SetRequest(key=key, value=value(text), expected_revision=revision)
                await self._change(stub.Set, request, "swap", text, held)

    async def _read(self, stub: Any, key: str) -> tuple[str | None, int]:
        began = time.monotonic()
        held, revision = await get(stub, key)
        self._note(key, Operation("read", began, time.monotonic(), held))
        return held, revision

    async def _change(
        self,
        method: Any,
        request: SetRequest | DeleteRequest,
        kind: Literal["write", "swap"],
        text: str | None = None,
        expected: str | None = None,
    ) -> int:
        """The revision of a change; 0 where it was refused."""
        began = time.monotonic()
        try:
            answer = await method(request, timeout=_PATIENCE)
        except asyncio.CancelledError:  # the test is over, and the call on its way
            self._note(request.key, Operation(kind, began, NOBODY_KNOWS, text, expected))
            raise
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ABORTED:
                refused = Operation("refused", began, time.monotonic(), text, expected)
                self._note(request.key, refused)
                return 0
            if error.code() in LOST:
                self._note(request.key, Operation(kind, began, NOBODY_KNOWS, text, expected))
            raise
        self._note(request.key, Operation(kind, began, time.monotonic(), text, expected))
        return int(answer.revision)

    async def _count(self, stub: Any, counter: str) -> None:
        held, revision = await self._read(stub, counter)
        text = str(int(held or 0) + 1)
        request = SetRequest(key=counter, value=value(text), expected_revision=revision)
        if reached := await self._change(stub.Set, request, "swap", text, held):
            self.counted.append((reached, counter))

    def _note(self, key: str, operation: Operation) -> None:
        self._history[key].append(operation)


class Watcher:
    """Follows what begins with `prefix`, and is told when it has missed something."""

    def __init__(self, prefix: str) -> None:
        self.runs: list[dict[int, str]] = [{}]
        """Revision -> key of every change; a new run begins where some were missed."""
        self.since: list[int] = [0]
        """After which revision each run has everything."""
        self.reached = 0
        self._prefix = prefix

    async def run(self, address: str) -> None:
        """For ever."""
        async with grpc.aio.insecure_channel(address, options=EAGER) as channel:
            stub: Any = KeyValueServiceStub(channel)
            while True:
                request = WatchRequest(
                    value=value(), prefix=self._prefix, from_revision=self.reached
                )
                try:
                    async for answer in stub.Watch(request):
                        self._take(answer)
                except grpc.aio.AioRpcError as error:
                    if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                        self.reached = 0
                    elif error.code() not in LOST:
                        raise
                    await asyncio.sleep(_PAUSE)

    def _take(self, answer: WatchResponse) -> None:
        for event in answer.events:
            if event.kind == event.KIND_SYNCED:
                self.runs.append({})
                self.since.append(event.revision)
            elif self.reached:
                assert event.revision > self.reached, "told twice, or not in order"
                self.runs[-1][event.revision] = event.key
                self.reached = event.revision
        self.reached = max(self.reached, answer.revision)


async def get(stub: Any, key: str) -> tuple[str | None, int]:
    """What a key holds, and at which revision; (None, 0): nothing."""
    try:
        answer = await stub.Get(GetRequest(key=key, value=value()), timeout=_PATIENCE)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:
            return None, 0
        raise
    return models_pb2.Value.FromString(answer.value.value).data, answer.revision
