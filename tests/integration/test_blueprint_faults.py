"""Blueprint under random faults: nothing acknowledged is lost, and nobody sees what cannot be.

DRAFT_FAULTS says how many faults (a few by default), DRAFT_SEED which ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from operator import gt
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from tests.support.clients import EAGER, LOST, Client, Watcher, get
from tests.support.linearizable import NOBODY_KNOWS, Operation, is_linearizable
from tests.support.trio import Trio, raised_trio
from tests.support.waiting import until

FAULTS = int(os.environ.get("DRAFT_FAULTS", "3"))
SEED = int(os.environ.get("DRAFT_SEED", "0")) or random.randrange(1, 1 << 32)
NODES = ["nats-1", "nats-2", "nats-3", "blueprint-1", "blueprint-2"]
# Seconds that a node stands still; 0: it is killed. After 4 s the engine's others choose a leader.
STANDS = [0.0, 0.0, 0.5, 6.0]
KEYS = [f"k/{number}" for number in range(6)]
COUNTERS = ["count/a", "count/b"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("faults")) as trio:
        yield trio


def strike(cluster: Trio, node: str, stands: float) -> None:
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
async def running(*work: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [each for each in ended if not isinstance(each, asyncio.CancelledError)]
    assert not failed, failed


async def patient(stub: Any, key: str) -> str | None:
    while True:
        try:
            return (await get(stub, key))[0]
        except grpc.aio.AioRpcError as error:
            if error.code() not in LOST:
                raise


@pytest.mark.timeout(60 + 60 * FAULTS)
async def test_under_random_faults_everything_that_was_seen_can_be_explained(cluster: Trio) -> None:
    print(f"DRAFT_SEED={SEED} DRAFT_FAULTS={FAULTS}")
    chance = random.Random(SEED)
    history: dict[str, list[Operation]] = defaultdict(list)
    addresses = [cluster.address(f"blueprint-{number}") for number in (1, 2)]
    clients = [Client(f"c{n}", chance.randrange(1 << 32), history) for n in range(6)]
    watchers = [Watcher("count/") for _ in addresses]

    def answers() -> list[int]:
        return [client.answers for client in clients]

    work = [client.run(addresses[n % 2], KEYS, COUNTERS) for n, client in enumerate(clients)]
    work += [w.run(address) for w, address in zip(watchers, addresses, strict=True)]
    async with running(*work):
        for _ in range(FAULTS):
            goal = sum(answers()) + 200
            await until(lambda goal=goal: sum(answers()) >= goal, within=60)
            node = chance.choice(NODES)
            stands = chance.choice(STANDS)
            await asyncio.to_thread(strike, cluster, node, stands)
            struck, before = time.monotonic(), answers()
            await until(lambda before=before: all(map(gt, answers(), before)), within=60)
            what = f"stood for {stands} s" if stands else "was killed"
            print(f"{node} {what}: all are answered after {time.monotonic() - struck:.1f} s")
    async with grpc.aio.insecure_channel(addresses[0], options=EAGER) as channel:
        held = [await patient(KeyValueServiceStub(channel), counter) for counter in COUNTERS]
    counted = {r: counter for client in clients for r, counter in client.counted.items()}
    total = sum(int(each or 0) for each in held)
    unsure = sum(o.ended == NOBODY_KNOWS for counter in COUNTERS for o in history[counter])
    print(f"{len(counted)} counts acknowledged, {unsure} unsure, {total} counted")
    assert len(counted) <= total <= len(counted) + unsure
    for key, operations in history.items():
        assert is_linearizable(operations), f"{key}: what was seen has no order"
    for watcher in watchers:
        for since, run in zip(watcher.since, watcher.runs, strict=True):
            last = max(run, default=since)
            due = {r: counter for r, counter in counted.items() if since < r <= last}
            assert due.items() <= run.items()
