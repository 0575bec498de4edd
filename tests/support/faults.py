"""A cluster of three engines and two Blueprints under random faults: nodes are killed or stand
still, links between them are cut. What clients saw of it is judged: nothing acknowledged is lost,
and nobody sees what cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import gt
from pathlib import Path
from typing import Any

import grpc
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from tests.support.apart import BLUEPRINTS, CLIENTS, ENGINES, Apart, apart
from tests.support.clients import EAGER, LOST, Client, Watcher, get
from tests.support.linearizable import NOBODY_KNOWS, Operation, contradiction, is_linearizable
from tests.support.links import Links, both, no_links
from tests.support.trio import Trio, raised_trio
from tests.support.waiting import until

# Seconds that a node stands still; 0: it is killed. After 4 s the engine's others choose a leader.
STANDS = [0.0, 0.0, 0.5, 6.0]
CUT = [0.5, 3.0, 8.0]  # seconds
_CLIENTS = 6
_ANSWERS = 200  # from all clients together, between two faults


@dataclass(frozen=True, slots=True)
class Strike:
    """What is to be done to whom: to a node, or between two. `cables` are what is cut, none where
    a node is meant."""

    what: str
    where: str
    seconds: float
    cables: Sequence[tuple[str, str]] = ()

    @property
    def kind(self) -> str:
        """In words, where any node of the same sort will do."""
        sorts = sorted(re.sub(r"-\d", "", self.where).split(" to "))
        kind = f"{' and '.join(sorts)} {self.what}"
        return kind + (f" for {self.seconds:g} s" if self.seconds else "")


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done, and after how many seconds every client had an answer again."""

    strike: Strike
    recovery: float

    @property
    def kind(self) -> str:
        return self.strike.kind

    def __str__(self) -> str:
        where = self.strike.where
        return f"{self.kind} ({where}): all are answered after {self.recovery:.1f} s"


@dataclass(frozen=True, slots=True)
class Judged:
    """Faults, and how many operations were found to have an order in spite of them."""

    faults: Sequence[Fault]
    operations: int
    unsure: int
    counted: int


async def history_under_faults(
    cluster: Trio | Apart,
    seed: int,
    rounds: int,
    space: str = "",
    say: Callable[[str], None] = print,
) -> Judged:
    """Clients use keys below `space`, where there is nothing yet, while so many faults happen; an
    AssertionError tells what they saw that cannot be. Links are cut where they can be."""
    links = cluster.links if isinstance(cluster, Apart) else None
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
            strike = draw(chance, links)
            await asyncio.to_thread(_strike, cluster, links, strike)
            struck, before = time.monotonic(), answers()
            await until(lambda before=before: all(map(gt, answers(), before)), within=60)
            faults.append(Fault(strike, time.monotonic() - struck))
            say(str(faults[-1]))
    async with grpc.aio.insecure_channel(addresses[0], options=EAGER) as channel:
        held = [await _patient(KeyValueServiceStub(channel), counter) for counter in counters]
    counted = [each for client in clients for each in client.counted]
    total = sum(int(each or 0) for each in held)
    unsure = sum(o.ended == NOBODY_KNOWS for counter in counters for o in history[counter])
    say(f"{len(counted)} counts acknowledged, {unsure} unsure, {total} counted")
    try:
        _judge(history, counted, total, unsure, watchers)
    except AssertionError as error:
        kept = _kept(cluster, seed, history, counted, watchers)
        raise AssertionError(f"{error} (seed {seed}; all that was seen is in {kept})") from None
    every = [operation for operations in history.values() for operation in operations]
    return Judged(faults, len(every), sum(o.ended == NOBODY_KNOWS for o in every), total)


def _judge(
    history: Mapping[str, Sequence[Operation]],
    counted: Sequence[tuple[int, str]],
    total: int,
    unsure: int,
    watchers: Sequence[Watcher],
) -> None:
    """An AssertionError tells what cannot be."""
    at = dict(counted)
    assert len(at) == len(counted), "two counts were acknowledged with one revision"
    assert len(counted) <= total <= len(counted) + unsure, "a count was lost, or made twice"
    for watcher in watchers:
        # It was told every count, wherever it had not missed any.
        for since, run in zip(watcher.since, watcher.runs, strict=True):
            last = max(run, default=since)
            due = {r: counter for r, counter in counted if since < r <= last}
            assert due.items() <= run.items(), "a watcher was not told of a count"
    for key, operations in history.items():
        if not is_linearizable(operations):
            raise AssertionError(f"{key}: there is no order:\n{contradiction(operations)}")


def _kept(
    cluster: Trio | Apart,
    seed: int,
    history: Mapping[str, Sequence[Operation]],
    counted: Sequence[tuple[int, str]],
    watchers: Sequence[Watcher],
) -> Path:
    """A folder that stays, with what clients saw and what the nodes logged."""
    folder = Path(tempfile.mkdtemp(prefix=f"draft-faults-{seed}-"))
    seen = {
        "history": {key: [asdict(each) for each in of] for key, of in history.items()},
        "counted": counted,
        "watched": [[watcher.since, watcher.runs] for watcher in watchers],
    }
    (folder / "seen.json").write_text(json.dumps(seen))
    for log in cluster.logs():
        shutil.copy(log, folder)
    return folder


def draw(chance: random.Random, links: Links | None) -> Strike:
    """The next fault."""
    if links is None or chance.random() < 0.5:
        node, stands = chance.choice([*ENGINES, *BLUEPRINTS]), chance.choice(STANDS)
        return Strike("stands still" if stands else "is killed", node, stands)
    seconds = chance.choice(CUT)
    match chance.choice(["one", "engines", "engines", "between", "clients"]):
        case "one":
            node = chance.choice([*ENGINES, *BLUEPRINTS])
            return Strike("is cut off", node, seconds, links.around(node))
        case "engines":
            pair = chance.sample(ENGINES, 2)
        case "between":
            pair = [chance.choice(BLUEPRINTS), chance.choice(ENGINES)]
        case _:
            pair = [CLIENTS, chance.choice(BLUEPRINTS)]
    chance.shuffle(pair)
    one, other = pair
    if chance.random() < 0.5:
        return Strike("are cut", f"{one} to {other}", seconds, both(one, other))
    return Strike("are cut one way", f"{one} to {other}", seconds, [(one, other)])


def _strike(cluster: Trio | Apart, links: Links | None, strike: Strike) -> None:
    """Kill a node, which is started again; let it stand for so long; or cut what is to be cut."""
    if strike.cables and links is not None:
        links.cut(strike.cables)
        time.sleep(strike.seconds)
        links.heal()
    elif not strike.seconds:
        cluster.kill(strike.where)
    else:
        pid = cluster.pids()[strike.where]
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(strike.seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def cluster_for_faults(folder: Path) -> Iterator[Trio | Apart]:
    """Five nodes with links that can be cut, or without where there can be none."""
    with raised_trio(folder) if no_links() else apart(folder) as cluster:
        yield cluster


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
