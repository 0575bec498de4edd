"""Fuse's client of Blueprint, and the one place where its errors become ours."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.key_value.v1 import models_pb2
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_api.core.registry.service_discovery.v1 import service_pb2 as discovery
from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
    ServiceDiscoveryServiceStub,
)
from google.protobuf.any_pb2 import Any as AnyMessage

from chassis.errors import RpcError
from chassis.health import ask_health

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceAsyncStub
    from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
        ServiceDiscoveryServiceAsyncStub,
    )

ROUTE = "type.googleapis.com/core.control_plane.networking.v1.Route"
DESCRIPTORS = "type.googleapis.com/google.protobuf.FileDescriptorSet"
VALUE = "type.googleapis.com/core.registry.key_value.v1.Value"
ADDRESS_KEY = "fuse_address"

# A write is committed within milliseconds; an engine that elects a new leader takes seconds.
WRITE_TIMEOUT = 5.0
HEALTH_TIMEOUT = 2.0


class BlueprintError(RpcError):
    """Blueprint did not do what it was asked. A call that needed it ends with the same status."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            super().__init__(f"Blueprint does not answer, what is served stays as it is: {words}")
            self.code = grpc.StatusCode.UNAVAILABLE
        else:
            super().__init__(f"Blueprint answers {code.name}: {words}")
            self.code = code


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key has a new value; None: it is gone."""

    name: str
    value: bytes | None
    revision: int


# Name -> (revision, value).
Known = dict[str, tuple[int, bytes]]


class Blueprint:
    """What Fuse asks of Blueprint. `connect` is called with the first question: a channel belongs
    to the loop in which it is made."""

    def __init__(self, connect: Callable[[], grpc.aio.Channel]) -> None:
        self._connect = connect

    @functools.cached_property
    def _keys(self) -> KeyValueServiceAsyncStub:
        return KeyValueServiceStub(self._connect())

    @functools.cached_property
    def _discovery(self) -> ServiceDiscoveryServiceAsyncStub:
        return ServiceDiscoveryServiceStub(self._connect())

    async def put_route(self, route: networking.Route, expected: int | None = None) -> int:
        """Store a route under its name; the revision of the write."""
        value = AnyMessage(type_url=ROUTE, value=route.SerializeToString())
        request = keys.SetRequest(key=route.name, value=value, expected_revision=expected)
        with _translated():
            return (await self._keys.Set(request, timeout=WRITE_TIMEOUT)).revision

    async def delete_route(self, name: str, expected: int | None = None) -> int:
        """Remove a route; the revision of the write."""
        value = AnyMessage(type_url=ROUTE)
        request = keys.DeleteRequest(key=name, value=value, expected_revision=expected)
        with _translated():
            return (await self._keys.Delete(request, timeout=WRITE_TIMEOUT)).revision

    async def announce(self, url: str) -> None:
        """Tell everybody where Fuse is."""
        value = AnyMessage(type_url=VALUE, value=models_pb2.Value(data=url).SerializeToString())
        with _translated():
            request = keys.SetRequest(key=ADDRESS_KEY, value=value)
            await self._keys.Set(request, timeout=WRITE_TIMEOUT)

    async def why_not_serving(self) -> str:
        """Why Blueprint cannot do its work now, in its own words; "" when it can."""
        with _translated():
            try:
                return await ask_health(self._connect(), within=HEALTH_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                    return ""  # one of the Go framework answers, and has no word for it
                raise

    async def watch_keys(self, type_url: str, known: Known) -> AsyncIterator[list[KeyChange]]:
        """Keep `known` at the keys of a type: first comes what differs from it, then each change.

        So a watch that broke goes on where it was, whatever happened in between."""
        fresh: Known = {}
        synced = False
        request = keys.WatchRequest(value=AnyMessage(type_url=type_url))
        with _translated():
            async for response in self._keys.Watch(request):
                changes = []
                for event in response.events:
                    if event.kind == keys.WatchEvent.KIND_SYNCED:
                        changes += _differences(known, fresh, response.revision)
                        known.clear()
                        known.update(fresh)
                        synced = True
                        continue
                    gone = event.kind == keys.WatchEvent.KIND_DELETE
                    value = None if gone else event.value.value
                    _apply(known if synced else fresh, event.key, event.revision, value)
                    if synced:
                        changes.append(KeyChange(event.key, value, event.revision))
                if synced:
                    yield changes

    async def watch_processes(self) -> AsyncIterator[discovery.WatchResponse]:
        """Every process, then SYNCED, then each change."""
        request = discovery.WatchRequest(filter=discovery.Filter(all="all"))
        with _translated():
            async for response in self._discovery.Watch(request):
                yield response


def _apply(entries: Known, name: str, revision: int, value: bytes | None) -> None:
    if value is None:
        entries.pop(name, None)
    else:
        entries[name] = (revision, value)


def _differences(known: Known, fresh: Known, revision: int) -> list[KeyChange]:
    gone = [KeyChange(name, None, revision) for name in known if name not in fresh]
    new = [
        KeyChange(name, value, at)
        for name, (at, value) in fresh.items()
        if known.get(name) != (at, value)
    ]
    return gone + new


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise BlueprintError(error.code(), error.details() or "no details") from error
