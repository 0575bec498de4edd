"""What clients see of Blueprint on three nodes of NATS, and of three of etcd, in turn in one run.

Both stand on this machine's one disk, and sync each write before they acknowledge it; the clients
are the same program over gRPC. Each of an operation's figures is the median over the runs of it.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from benchmarks.figures import Figure
from benchmarks.stores import ETCD, Blueprint, Store, raised_stores
from chassis.clients import connect

_MANY = 64  # clients
_ALONE = 100  # operations by one client
_TOGETHER = 30  # by each of many
_COUNTERS, _COUNTS = 8, 100  # clients that count up one key, and how far
_RATE, _SECONDS = 100, 4.0  # of writes that are watched
_VALUE = bytes(200)
_WAIT = 0.02  # seconds between attempts while nobody leads

Seen = dict[str, float]


def beside_etcd(runs: int) -> list[Figure]:
    """Both figures of each operation, and the ratio."""
    with tempfile.TemporaryDirectory(prefix="draft-bench-") as name:
        try:
            return asyncio.run(_compared(Path(name), runs))
        except subprocess.CalledProcessError as error:
            print(f"left out: {ETCD} is not to be had: {error}", file=sys.stderr)
            return []


async def _compared(folder: Path, runs: int) -> list[Figure]:
    seen: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with raised_stores(folder) as (trio, etcd):
        async with connect(trio.address("blueprint-1")) as channel:
            stores: dict[str, Store] = {"Blueprint": Blueprint(trio, channel), "etcd": etcd}
            await etcd.open()
            for store in stores.values():
                await store.put("k", _VALUE)
            for run in range(runs + 1):  # the first is not counted
                for measure in _MEASURES:
                    for name, store in stores.items():
                        for what, value in (await measure(store)).items():
                            if run:
                                seen[what][name].append(value)
                print(f"run {run}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    figures = []
    for what, by in seen.items():
        ours, theirs = (statistics.median(by[name]) for name in stores)
        figures += [
            Figure(f"{what}: Blueprint", ours, _unit(what)),
            Figure(f"{what}: {ETCD}", theirs, _unit(what)),
            Figure(f"{what}: Blueprint over etcd", ours / theirs, "x"),
        ]
    return figures


def _unit(what: str) -> str:
    return "/s" if "a second" in what else "ms"


async def _alone(store: Store) -> Seen:
    puts = [await _timed(store.put(f"one/{n}", _VALUE)) for n in range(_ALONE)]
    gets = [await _timed(store.get("k")) for _ in range(_ALONE)]
    return {
        "1 client, put, median": statistics.median(puts),
        "1 client, linearizable get, median": statistics.median(gets),
    }


async def _together(store: Store) -> Seen:
    async def each(do: Callable[[int], Awaitable[object]]) -> float:
        async def client(of: int) -> None:
            for n in range(_TOGETHER):
                await do(of * _TOGETHER + n)

        began = time.monotonic()
        await asyncio.gather(*map(client, range(_MANY)))
        return _MANY * _TOGETHER / (time.monotonic() - began)

    return {
        f"{_MANY} clients, puts a second": await each(lambda n: store.put(f"many/{n}", _VALUE)),
        f"{_MANY} clients, linearizable gets a second": await each(lambda _: store.get("k")),
    }


async def _counted(store: Store) -> Seen:
    """Every client reads the counter and swaps it for one more, until it is at the goal."""
    await store.put("counter", b"0")

    async def client() -> None:
        while (held := await store.get("counter")) and int(held[0]) < _COUNTS:
            await store.swap("counter", b"%d" % (int(held[0]) + 1), held[1])

    began = time.monotonic()
    await asyncio.gather(*(client() for _ in range(_COUNTERS)))
    rate = _COUNTS / (time.monotonic() - began)
    assert (await store.get("counter"))[0] == b"%d" % _COUNTS
    return {f"{_COUNTERS} clients count one key up, counts a second": rate}


async def _watched(store: Store) -> Seen:
    """From put to the watch."""
    lags: list[float] = []
    watching, done, count = asyncio.Event(), asyncio.Event(), int(_RATE * _SECONDS)
    prefix = f"watched-{time.monotonic_ns()}/"

    async def read() -> None:
        async for values in store.watch(prefix):
            watching.set()
            lags.extend(time.monotonic() - struct.unpack("d", value)[0] for value in values)
            if len(lags) >= count:
                done.set()

    reader = asyncio.create_task(read())
    await asyncio.wait_for(watching.wait(), 30)
    began = time.monotonic()
    async with asyncio.TaskGroup() as writes:
        for n in range(count):
            await asyncio.sleep(max(0.0, began + n / _RATE - time.monotonic()))
            now = struct.pack("d", time.monotonic())
            writes.create_task(store.put(f"{prefix}{n}", now))
    await asyncio.wait_for(done.wait(), 30)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    lags.sort()
    return {
        f"{_RATE} puts/s, from put to the watch, p50": lags[len(lags) // 2] * 1000,
        f"{_RATE} puts/s, from put to the watch, p99": lags[len(lags) * 99 // 100] * 1000,
    }


async def _recovered(store: Store) -> Seen:
    """From the leader's end to the first write that is acknowledged again, by another node."""
    await store.kill_leader()
    began = time.monotonic()
    while True:
        try:
            await asyncio.wait_for(store.put("k", _VALUE), 1.0)
            break
        except (grpc.aio.AioRpcError, TimeoutError):
            await asyncio.sleep(_WAIT)
    took = time.monotonic() - began
    await store.mend()
    return {"kill -9 of the leader, to the next put": took * 1000}


async def _timed(call: Awaitable[object]) -> float:
    """In milliseconds."""
    began = time.monotonic()
    await call
    return (time.monotonic() - began) * 1000


_MEASURES = (_alone, _together, _counted, _watched, _recovered)
