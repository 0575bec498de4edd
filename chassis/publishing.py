"""What a registered service tells the cluster: its descriptors (for JSON at the ingress) and its
routes. Done after each Initialize, so that a cluster set up anew learns them again."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as networking_rpc
from draft_api.core.registry.key_value.v1 import models_pb2 as kv_models
from draft_api.core.registry.key_value.v1 import service_pb2 as kv
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as kv_rpc
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import Message

from chassis.clients import Address, parse_address

log = logging.getLogger(__name__)

FUSE_KEY = "fuse_address"

Connect = Callable[[Address], grpc.aio.Channel]
_CALL = 5.0
_ROUTE = 15.0  # Fuse waits for its proxies, and says what they did
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
# Trying again cannot mend these: the route itself is wrong.
_WRONG = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)


class NotYetError(Exception):
    """Whom it takes is not there yet."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route in code: one for all replicas of the service, its endpoints follow the registry.
    `timeout` in seconds."""

    prefix: str
    host: str = ""
    http2: bool = True
    name: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    retries: int = 0
    rewrite_prefix: str = ""

    def to_proto(self, service: str) -> networking.Route:
        route = networking.Route(
            name=self.name or f"{service}{self.host and '@' + self.host}{self.prefix}",
            match=networking.RouteMatch(
                prefix=self.prefix,
                host=self.host,
                header_matches=[
                    networking.HeaderMatchOptions(key=k, value=v)
                    for k, v in sorted(self.headers.items())
                ],
            ),
            enable_http2=self.http2,
            service=service,
            retries=self.retries,
            rewrite_prefix=self.rewrite_prefix,
        )
        if self.timeout is not None:
            route.timeout.FromNanoseconds(round(self.timeout * 1e9))
        return route


async def publish(
    blueprint: grpc.aio.Channel,
    service: str,
    names: Sequence[str],
    routes: Sequence[Route],
    fuse: Connect,
) -> None:
    """Tell all of it; waits with a back-off for whom is not there yet. `fuse` connects to Fuse at
    an address."""
    keys = kv_rpc.KeyValueServiceStub(blueprint)
    for name in names:
        await _patiently(f"descriptors of {name}", partial(_describe, keys, name))
    for asked in routes:
        route = asked.to_proto(service)
        await _patiently(f"route {route.name}", partial(_add, keys, route, fuse))


async def _describe(keys: kv_rpc.KeyValueServiceAsyncStub, name: str) -> None:
    """Store the service's descriptors under its full name, if they are not there already."""
    wanted = _packed(descriptors_of(name))
    try:
        answer = await keys.Get(kv.GetRequest(key=name, value=wanted), timeout=_CALL)
        if answer.value.value == wanted.value:
            return
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
    await keys.Set(kv.SetRequest(key=name, value=wanted), timeout=_CALL)


async def _add(
    keys: kv_rpc.KeyValueServiceAsyncStub, route: networking.Route, fuse: Connect
) -> None:
    async with fuse(await _fuse(keys)) as channel:
        stub = networking_rpc.NetworkingServiceStub(channel)
        await stub.AddRoute(networking.AddRouteRequest(route=route), timeout=_ROUTE)
    log.info("route is set", extra={"route": route.name})


async def _fuse(keys: kv_rpc.KeyValueServiceAsyncStub) -> Address:
    """Where Fuse says that it is."""
    kind = _packed(kv_models.Value())
    where = kv_models.Value()
    try:
        answer = await keys.Get(kv.GetRequest(key=FUSE_KEY, value=kind), timeout=_CALL)
        answer.value.Unpack(where)
        return parse_address(where.data)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        raise NotYetError(f"Fuse is not there yet (no key {FUSE_KEY} in Blueprint)") from None
    except ValueError as error:
        raise NotYetError(f"key {FUSE_KEY} in Blueprint: {error}") from None


async def _patiently(what: str, attempt: Callable[[], Awaitable[None]]) -> None:
    """Try until it is done, or refused for good."""
    pause, said = _FIRST_PAUSE, ""
    while True:
        try:
            return await attempt()
        except NotYetError as error:
            why = str(error)
        except grpc.aio.AioRpcError as error:
            why = f"{error.code().name}: {error.details()}"
            if error.code() in _WRONG:
                log.error("%s was refused: %s", what, why)
                return None
        if why != said:  # once, not at every attempt
            log.info("%s has to wait: %s", what, why)
            said = why
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def descriptors_of(service: str) -> FileDescriptorSet:
    """The files that describe a gRPC service, each after those that it imports; with the other
    files of its package that this program knows, for what travels inside an Any."""
    files: dict[str, FileDescriptor] = {}

    def collect(file: FileDescriptor) -> None:
        for dependency in file.dependencies:
            if dependency.name not in files:
                collect(dependency)
        files[file.name] = file

    own = descriptor_pool.Default().FindServiceByName(service).file
    for file in (own, *_siblings(own)):
        collect(file)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found


def _siblings(file: FileDescriptor) -> list[FileDescriptor]:
    """A pool does not tell its files; the generated modules have them."""
    if not file.package:  # then all strangers without one would be
        return []
    known = [getattr(module, "DESCRIPTOR", None) for module in list(sys.modules.values())]
    same = (
        each for each in known if isinstance(each, FileDescriptor) and each.package == file.package
    )
    return sorted(same, key=lambda each: each.name)


def _packed(message: Message) -> AnyMessage:
    value = AnyMessage()
    value.Pack(message, deterministic=True)
    return value
