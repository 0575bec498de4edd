"""A cluster of three engines and two Blueprints under random faults, and what clients saw of it
judged: nothing acknowledged is lost, and nobody sees what cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import gt
from typing import Any

import grpc
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from tests.support.clients import EAGER, LOST, Client, Watcher, get
from tests.support.linearizable import NOBODY_KNOWS, Operation, contradiction, is_linearizable
from tests.support.trio import Trio
from tests.support.waiting import until

NODES = ["nats-1", "nats-2", "nats-3", "blueprint-1", "blueprint-2"]
# Seconds that a node stands still; 0: it is killed. After 4 s the engine's others choose a leader.
STANDS = [0.0, 0.0, 0.5, 6.0]
_CLIENTS = 6
_ANSWERS = 200  # from all clients together, between two faults


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to a node, and after how many seconds every client had an answer again."""

    node: str
    stood: float
    recovery: float

    @property
    def kind(self) -> str:
        what = f"stands for {self.stood:g} s" if self.stood else "is killed"
        return f"{self.node.rpartition('-')[0]} {what}"

    def __str__(self) -> str:
        return f"{self.kind} ({self.node}): all are answered after {self.recovery:.1f} s"


@dataclass(frozen=True, slots=True)
class Judged:
    """Faults, and how many operations were found to have an order in spite of them."""

    faults: Sequence[Fault]
    operations: int
    unsure: int
    counted: int


async def history_under_faults(
    cluster: Trio, seed: int, rounds: int, space: str = "", say: Callable[[str], None] = print
) -> Judged:
    """Clients use keys below `space`, where there is nothing yet, while so many faults happen; an
    AssertionError tells what they saw that cannot be."""
    chance = random.Random(seed)
    keys = [f"{space}k/{number}" for number in range(6)]
    counters = [f"{space}count/a", f"{space}count/b"]
    history: dict[str, list[Operation]] = defaultdict(list)
    addresses = [cluster.address(f"blueprint-{number}") for number in (1, 2)]
    clients = [Client(f"c{n}", chance.randrange(1 << 32), history) for n in range(_CLIENTS)]
    watchers = [Watcher(f"{space}count/") for _ in addresses]

    def answers() -> list[int]:
        return [client.answers for client in clients]

    faults: list[Fault] = []
    work = [client.run(addresses[n % 2], keys, counters) for n, client in enumerate(clients)]
    work += [w.run(address) for w, address in zip(watchers, addresses, strict=True)]
    async with _running(*work):
        for _ in range(rounds):
            goal = sum(answers()) + _ANSWERS
            await until(lambda goal=goal: sum(answers()) >= goal, within=60)
            node, stands = chance.choice(NODES), chance.choice(STANDS)
            await asyncio.to_thread(_strike, cluster, node, stands)
            struck, before = time.monotonic(), answers()
            await until(lambda before=before: all(map(gt, answers(), before)), within=60)
            faults.append(Fault(node, stands, time.monotonic() - struck))
            say(str(faults[-1]))
    async with grpc.aio.insecure_channel(addresses[0], options=EAGER) as channel:
        held = [await _patient(KeyValueServiceStub(channel), counter) for counter in counters]
    counted = {r: counter for client in clients for r, counter in client.counted.items()}
    total = sum(int(each or 0) for each in held)
    unsure = sum(o.ended == NOBODY_KNOWS for counter in counters for o in history[counter])
    say(f"{len(counted)} counts acknowledged, {unsure} unsure, {total} counted")
    assert len(counted) <= total <= len(counted) + unsure
    for key, operations in history.items():
        if not is_linearizable(operations):
            why = contradiction(operations)
            raise AssertionError(f"{key}: what was seen has no order (seed {seed}):\n{why}")
    for watcher in watchers:
        _check(watcher, counted)
    every = [operation for operations in history.values() for operation in operations]
    return Judged(faults, len(every), sum(o.ended == NOBODY_KNOWS for o in every), total)


def _check(watcher: Watcher, counted: Mapping[int, str]) -> None:
    """It was told every count, wherever it had not missed any."""
    for since, run in zip(watcher.since, watcher.runs, strict=True):
        last = max(run, default=since)
        due = {r: counter for r, counter in counted.items() if since < r <= last}
        assert due.items() <= run.items(), "a watcher was not told of a count"


def _strike(cluster: Trio, node: str, stands: float) -> None:
    """Kill a node, which its supervisor starts again; or let it stand for so long."""
    pid = cluster.pids()[node]
    if not stands:
        os.kill(pid, signal.SIGKILL)
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(stands)
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def _running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [each for each in ended if not isinstance(each, asyncio.CancelledError)]
    assert not failed, failed


async def _patient(stub: Any, key: str) -> str | None:
    while True:
        try:
            return (await get(stub, key))[0]
        except grpc.aio.AioRpcError as error:
            if error.code() not in LOST:
                raise
