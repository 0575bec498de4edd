"""A node of the engine that stood still, and has not heard that another one leads now."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
from draft_services.engine.accounts import login
from draft_services.engine.connection import Connection
from draft_services.engine.errors import NotFound, Unavailable
from draft_services.engine.jetstream import JetStreamStore
from draft_services.engine.nodes import Nodes
from draft_services.engine.store import Key

from tests.support.trio import Trio, raised_trio
from tests.support.waiting import until_answered

KEY = Key("type.googleapis.com/test", "stale")
NODES = ("nats-1", "nats-2", "nats-3")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("stale")) as trio:
        yield trio


class Wires:
    """Connections to single nodes, which stay for as long as a node stands still."""

    def __init__(self, cluster: Trio) -> None:
        self._urls = {node: f"nats://{cluster.address(node)}" for node in NODES}
        self._secret = str(cluster.state / "secrets" / "engine")
        self._open: list[Connection] = []

    async def to(self, node: str, user: str = "draft") -> Connection:
        made = Connection(self._urls[node], name="test", ping=60, login=login(self._secret, user))
        await made.open()
        self._open.append(made)
        return made

    async def close(self) -> None:
        for each in self._open:
            await each.close()


@contextlib.asynccontextmanager
async def wires(cluster: Trio) -> AsyncIterator[Wires]:
    made = Wires(cluster)
    try:
        yield made
    finally:
        await made.close()


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def written(store: JetStreamStore) -> int:
    """The revision of a write that was acknowledged; 0: nobody leads as yet."""
    try:
        return await store.put(KEY, b"written while the leader stood still")
    except Unavailable:
        return 0


@pytest.mark.timeout(120)
async def test_what_it_says_as_the_leader_that_it_was_is_not_believed(cluster: Trio) -> None:
    for _ in range(3):  # whether it answers before it hears of the others is a race
        async with wires(cluster) as open_:
            information = await (await open_.to("nats-1")).api("STREAM.INFO.KV_keys")
            leader = information["cluster"]["leader"]
            wire = await open_.to(leader)
            nodes = Nodes(wire, await open_.to(leader, "system"))
            asked = JetStreamStore(wire, "keys", nodes)
            other = next(node for node in NODES if node != leader)
            others = JetStreamStore(await open_.to(other), "keys")
            with standing_still(cluster.pids()[leader]):
                revision = await until_answered(lambda others=others: written(others), within=60)
                questions = [asyncio.create_task(asked.revision()) for _ in range(50)]
                await open_.to(other)  # by now they lie in its socket
            assert min(await asyncio.gather(*questions)) >= revision


async def test_a_stream_is_read_to_its_end_though_what_was_there_is_gone(cluster: Trio) -> None:
    async with wires(cluster) as open_:
        wire = await open_.to("nats-1")
        store = JetStreamStore(wire, "keys", Nodes(wire, await open_.to("nats-1", "system")))
        await store.put(KEY, b"short", ttl=1)

        async def gone() -> bool:
            """The key, and the engine's mark that it is gone, were the last of the stream."""
            state = (await wire.api("STREAM.INFO.KV_keys"))["state"]
            last = {"seq": state["last_seq"]}
            with contextlib.suppress(NotFound):
                await wire.api("STREAM.MSG.GET.KV_keys", last)
                return False
            return True

        await until_answered(gone, within=30)
        async with asyncio.timeout(10), store.changes() as feed:
            async for told in feed:
                if told.caught_up:
                    break
        assert told.revision == await store.revision()
