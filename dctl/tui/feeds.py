"""What keeps the store true: one coroutine a source, each for as long as the screen is open.

Blueprint's and Catalyst's streams are watched; the runtime is polled once a second. A lost source
is shown as lost and tried again with a back-off; what it told last stays on the screen.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from typing import Any

from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.message_broker.actors.v1 import consumer_pb2, consumer_pb2_grpc, models_pb2
from draft_api.core.registry.key_value.v1 import models_pb2 as kv_models
from draft_api.core.registry.key_value.v1 import service_pb2 as kv
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as kv_rpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as sd_models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as sd
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as sd_rpc
from google.protobuf.message import DecodeError
from grpc import RpcError, aio

from chassis.clients import connect
from dctl.engine.cluster import OpenCluster
from dctl.errors import DctlError
from dctl.text import shorten
from dctl.tui.store import Entry, Event, FeedState, Key, Route, Store

_POLL = 1.0  # seconds between two looks at the runtime
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_READY = 3.0  # seconds until an address that does not answer counts as lost
_WIDEST_VALUE = 200

Source = Callable[[OpenCluster, Store], Awaitable[None]]


async def run_feeds(cluster: OpenCluster, store: Store) -> None:
    """All feeds; returns when cancelled."""
    sources: dict[str, Source] = {
        "runtime": _runtime,
        "registry": _registry,
        "keys": _keys,
        "events": _events,
    }
    async with asyncio.TaskGroup() as group:
        for name, source in sources.items():
            group.create_task(_keep(name, source, cluster, store))


async def _keep(name: str, source: Source, cluster: OpenCluster, store: Store) -> None:
    """Run `source` again and again: it returns or raises when its connection is lost."""
    pause = _FIRST_PAUSE
    while True:
        try:
            await source(cluster, store)
            reason = "the stream ended"
        except RpcError as error:
            reason = f"{error.code().name.lower()}: {error.details()}"
        except TimeoutError:
            reason = "no answer"
        except DctlError as error:
            reason = error.message
        if store.feeds[name].state is FeedState.LIVE:
            pause = _FIRST_PAUSE
        store.set_feed(name, FeedState.LOST, reason)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


async def _runtime(cluster: OpenCluster, store: Store) -> None:
    while True:
        rows = await asyncio.to_thread(cluster.status)
        store.set_feed("runtime", FeedState.LIVE)
        store.services = rows
        store.changed()
        await asyncio.sleep(_POLL)


async def _registry(cluster: OpenCluster, store: Store) -> None:
    async with await _channel(cluster, "blueprint") as channel:
        everything = sd.WatchRequest(filter=sd.Filter(all="*"))
        seen: dict[str, Entry] = {}
        synced = False
        async for change in sd_rpc.ServiceDiscoveryServiceStub(channel).Watch(everything):
            if change.kind == sd.WatchResponse.KIND_SYNCED:
                synced = True
                store.set_feed("registry", FeedState.LIVE)
            elif change.kind == sd.WatchResponse.KIND_DELETE:
                seen.pop(change.process.pid, None)
            else:
                seen[change.process.pid] = _entry(change.process)
            if synced:  # never show half of what is there
                store.registry = dict(seen)
                store.changed()


async def _keys(cluster: OpenCluster, store: Store) -> None:
    async with await _channel(cluster, "blueprint") as channel:
        seen: dict[tuple[str, str], Key] = {}
        routes: dict[str, Route] = {}
        synced = False
        async for answer in kv_rpc.KeyValueServiceStub(channel).Watch(kv.WatchRequest()):
            for change in answer.events:
                if change.kind == kv.WatchEvent.KIND_SYNCED:
                    synced = True
                    store.set_feed("keys", FeedState.LIVE)
                else:
                    _apply(change, seen, routes)
            if synced:
                store.keys, store.routes = dict(seen), dict(routes)
                store.changed()


def _apply(
    change: kv.WatchEvent, keys: dict[tuple[str, str], Key], routes: dict[str, Route]
) -> None:
    kind = change.value.TypeName()
    place = (kind, change.key)
    if change.kind == kv.WatchEvent.KIND_DELETE:
        keys.pop(place, None)
        if kind == networking.Route.DESCRIPTOR.full_name:
            routes.pop(change.key, None)
        return
    keys[place] = Key(change.key, kind.rpartition(".")[2], _shown(change.value), change.revision)
    route = networking.Route()
    if change.value.Is(route.DESCRIPTOR) and change.value.Unpack(route):
        routes[change.key] = _route(route)


async def _events(cluster: OpenCluster, store: Store) -> None:
    async with await _channel(cluster, "catalyst") as channel:
        request = consumer_pb2.ConsumeRequest(message=models_pb2.CloudEvent(type="*"))
        if store.events:  # go on after the last one that we saw
            request.start.sequence = store.events[-1].sequence + 1
        call = consumer_pb2_grpc.ConsumerStub(channel).Consume(request)
        await call.initial_metadata()  # sent once the consumer is in place
        store.set_feed("events", FeedState.LIVE)
        async for answer in call:
            store.events.append(_event(answer))
            store.changed()


async def _channel(cluster: OpenCluster, part: str) -> aio.Channel:
    way = await asyncio.to_thread(cluster.way, part)
    channel = connect(way.address, (lambda: way.proof) if way.proof else None, way.secure)
    try:
        async with asyncio.timeout(_READY):
            await channel.channel_ready()
    except BaseException:
        await channel.close()
        raise
    return channel


def _entry(process: sd_models.Process) -> Entry:
    state = sd_models.ProcessRunningState.Name(process.running_state)
    health = sd_models.ProcessHealthState.Name(process.health_state)
    return Entry(
        name=process.name,
        pid=process.pid,
        group=process.group,
        address=process.ip_address,
        # The wire's spelling of "disconnected" lacks an S.
        state=state.removeprefix("PROCESS_").lower().replace("diconnected", "disconnected"),
        health=health.removeprefix("PROCESS_").lower(),
        joined=process.joined_time.seconds,
    )


def _route(route: networking.Route) -> Route:
    endpoints = [e.endpoint for e in route.endpoints] or [route.endpoint]
    return Route(
        name=route.name,
        host=route.match.host,
        prefix=route.match.prefix,
        target=route.service or ", ".join(f"{e.host}:{e.port}" for e in endpoints),
        protocol="grpc" if route.enable_http2 or route.service else "http",
    )


def _event(answer: Any) -> Event:
    event = answer.message
    data = event.text_data or (f"{len(event.binary_data)} bytes" if event.binary_data else "")
    if event.HasField("proto_data"):
        data = event.proto_data.TypeName()
    return Event(
        sequence=answer.sequence,
        time=datetime.datetime.now().strftime("%H:%M:%S"),
        type=event.type,
        source=event.source,
        id=event.id,
        data=shorten(data, _WIDEST_VALUE),
    )


def _shown(value: Any) -> str:
    text = kv_models.Value()
    if value.Is(text.DESCRIPTOR):
        try:
            value.Unpack(text)
        except DecodeError:
            return "(broken)"
        return shorten(text.data, _WIDEST_VALUE)
    return f"{len(value.value)} bytes"
