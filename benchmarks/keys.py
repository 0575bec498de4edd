"""A Blueprint with very many keys: how long it reads them, what they take, what goes on beside."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_services.engine import streams, subjects
from draft_services.engine.batches import MOST, Outgoing, store_all
from draft_services.engine.connection import connect as connect_engine
from google.protobuf.any_pb2 import Any as AnyMessage

from benchmarks.figures import Figure
from chassis.clients import connect
from tests.support.nats import Nats, running_nats
from tests.support.services import Service, running_blueprint

COUNTS = (10_000, 100_000, 1_000_000)
TYPE = "type.googleapis.com/bench.Row"
SIZE = 200
RATE = 1000  # writes a second
_SECONDS = 15.0  # of writing
_SIDE_BY_SIDE = 4  # batches on their way
_ON_THEIR_WAY = 500  # writes at a time: of more than a thousand that wait, gRPC drops some
_PAGE = 1000


def of_keys(runs: int) -> list[Figure]:
    """The growth curve."""
    figures, memory = [], []
    empty = 0.0
    for count in (0, *COUNTS):
        with (
            tempfile.TemporaryDirectory(prefix="draft-bench-") as folder,
            running_nats(Path(folder) / "nats", max_store="8G") as nats,
        ):
            began = time.monotonic()
            asyncio.run(_fill(nats, count))
            filled = time.monotonic() - began
            limits = {"MAX_KEYS": "10000000", "MAX_BYTES": "8000000000", "MAX_STORE": "8000000000"}
            env = {f"DRAFT_BLUEPRINT_{name}": value for name, value in limits.items()}
            with running_blueprint(Path(folder), nats.url, ready=False, **env) as blueprint:
                loads = [_loaded(blueprint)]
                for _ in range(runs - 1 if count < COUNTS[-1] else 0):
                    blueprint.kill()
                    blueprint.start(ready=False)
                    loads.append(_loaded(blueprint))
                load = statistics.median(loads)
                memory.append(_resident(blueprint))
                if not count:
                    empty = load
                    continue
                what = f"{count:,} keys of {SIZE} B"
                figures += [
                    Figure(f"{what}: written in batches", count / filled, "keys/s"),
                    Figure(f"{what}: start of a Blueprint beyond an empty one", load - empty, "s"),
                    Figure(f"{what}: resident", memory[-1], "MB"),
                    Figure(f"{what}: a key", (memory[-1] - memory[0]) * (1 << 20) / count, "B"),
                ]
                figures += asyncio.run(_beside(blueprint, count, what))
    grown = (memory[3] - memory[2]) / (memory[2] - memory[1])
    times = (COUNTS[2] - COUNTS[1]) / (COUNTS[1] - COUNTS[0])
    name = f"growth of memory from {COUNTS[1]:,} to {COUNTS[2]:,} keys, over their number"
    return [*figures, Figure(name, grown / times, "x", 1.2)]


async def _fill(nats: Nats, count: int) -> None:
    """Past Blueprint, which takes them one by one."""
    engine = await connect_engine(nats.url, name="bench")
    await streams.ensure(engine, streams.bucket_config("keys"))
    batches = iter(range(at, min(at + MOST, count)) for at in range(0, count, MOST))

    async def write() -> None:
        for numbers in batches:
            messages = [
                Outgoing(f"$KV.keys.{subjects.key_subject(TYPE, _key(n))}", _value(n), {})
                for n in numbers
            ]
            await store_all(engine, messages, doing="fill")

    await asyncio.gather(*(write() for _ in range(_SIDE_BY_SIDE)))
    await engine.close()


@dataclass
class Beside:
    """What a watcher and a reader saw while it was written to: how long each change took from Set
    to the watch, in order, the writes in a second, and the longest that a read took."""

    lags: list[float]
    rate: float
    longest: float


async def _beside(blueprint: Service, count: int, what: str) -> list[Figure]:
    """Pages, and a watch, while it is written to."""
    async with connect(blueprint.address) as channel, connect(blueprint.address) as other:
        keys: Any = KeyValueServiceStub(channel)
        first = await _timed(_page(keys, 0))
        pages = [await _timed(_page(keys, at * count // 20)) for at in range(20)]
        fresh = []
        for n in range(5):
            await keys.Set(pb.SetRequest(key=f"new-{n}", value=AnyMessage(type_url=TYPE)))
            fresh.append(await _timed(_page(keys, 0)))
        seen = await _watched(keys, KeyValueServiceStub(other), count)
    at, lags = f"{what}, {RATE:,} writes/s", seen.lags
    return [
        Figure(f"{what}: the first page of {_PAGE}", first * 1000, "ms"),
        Figure(f"{what}: a page of {_PAGE}", statistics.median(pages) * 1000, "ms"),
        Figure(f"{what}: a page after a new key", statistics.median(fresh) * 1000, "ms"),
        Figure(f"{at}: of these had", seen.rate, "/s"),
        Figure(f"{at}: from Set to the watch, p50", lags[len(lags) // 2] * 1000, "ms"),
        Figure(f"{at}: from Set to the watch, p99", lags[len(lags) * 99 // 100] * 1000, "ms"),
        Figure(f"{at}: longest wait for a Get meanwhile", seen.longest * 1000, "ms"),
    ]


async def _watched(keys: Any, watching: Any, count: int) -> Beside:
    """How long each change took to a watcher, and the longest that a read took meanwhile."""
    lags: list[float] = []
    all_seen = asyncio.Event()
    revision = (await _page(keys, 0)).revision
    watch = watching.Watch(
        pb.WatchRequest(value=AnyMessage(type_url=TYPE), prefix="k", from_revision=revision)
    )

    async def read() -> None:
        async for told in watch:
            now = time.time()
            lags.extend(now - struct.unpack("d", event.value.value[:8])[0] for event in told.events)
            if len(lags) >= int(RATE * _SECONDS):
                all_seen.set()

    waits = [0.0]

    async def get() -> None:
        while True:
            waits.append(await _timed(_get(watching)))
            await asyncio.sleep(0.05)

    room = asyncio.Semaphore(_ON_THEIR_WAY)

    async def put(n: int) -> None:
        any_ = AnyMessage(type_url=TYPE, value=struct.pack("d", time.time()) + bytes(SIZE - 8))
        try:
            await keys.Set(pb.SetRequest(key=_key(n * 7919 % count), value=any_), timeout=60)
        finally:
            room.release()

    tasks = [asyncio.create_task(read()), asyncio.create_task(get())]
    try:
        began = time.monotonic()
        async with asyncio.TaskGroup() as writes:
            for n in range(int(RATE * _SECONDS)):
                await asyncio.sleep(max(0.0, began + n / RATE - time.monotonic()))
                await room.acquire()
                writes.create_task(put(n))
        took = time.monotonic() - began
        await asyncio.wait_for(all_seen.wait(), 60)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Beside(sorted(lags), len(lags) / took, max(waits))


async def _page(keys: Any, at: int) -> Any:
    """A page that begins behind the key of that number."""
    token = base64.urlsafe_b64encode(json.dumps([0, _key(at)]).encode()).decode() if at else ""
    return await keys.List(
        pb.ListRequest(value=AnyMessage(type_url=TYPE), page_size=_PAGE, page_token=token),
        timeout=60,
    )


async def _get(keys: Any) -> None:
    await keys.Get(pb.GetRequest(key=_key(1), value=AnyMessage(type_url=TYPE)), timeout=60)


async def _timed(call: Awaitable[object]) -> float:
    began = time.monotonic()
    await call
    return time.monotonic() - began


def _loaded(blueprint: Service) -> float:
    """Seconds until it serves."""
    began = time.monotonic()
    if blueprint._process is None:
        blueprint.start(ready=False)
    blueprint.wait_ready(600)
    return time.monotonic() - began


def _resident(blueprint: Service) -> float:
    return float(psutil.Process(blueprint.pid).memory_info().rss) / (1 << 20)


def _key(number: int) -> str:
    return f"k/{number % 1000:03}/{number}"


def _value(number: int) -> bytes:
    return os.urandom(8) + number.to_bytes(8, "big") + bytes(SIZE - 16)
