"""The store on a real JetStream keeps its promises, also over kills."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from draft_services.engine.connection import Connection, connect
from draft_services.engine.errors import Compacted, Conflict, Unavailable
from draft_services.engine.jetstream import JetStreamStore
from draft_services.engine.store import Change, Key

from tests.support.nats import Nats, running_nats
from tests.support.waiting import until

A = Key("type.googleapis.com/t.A", "ä key/with. dots *>")
B = Key("type.googleapis.com/t.B", A.name)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def connection(server: Nats) -> AsyncIterator[Connection]:
    opened = await connect(server.url, name="test")
    yield opened
    await opened.close()


@pytest.fixture
async def store(connection: Connection) -> JetStreamStore:
    bucket = JetStreamStore(connection, "test")
    await bucket.open()
    return bucket


async def test_a_key_is_its_kind_and_its_name(store: JetStreamStore) -> None:
    first, second = await store.put(A, b"a"), await store.put(B, b"b")
    assert second > first
    assert [entry.value for entry in await store.entries()] == [b"a", b"b"]
    await store.delete(A)
    assert await store.get(A) is None
    entry = await store.get(B)
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == (B, b"b", second)


async def test_opening_again_changes_nothing(store: JetStreamStore) -> None:
    await store.put(A, b"a")
    await store.open()
    assert len(await store.entries()) == 1


async def test_a_condition_is_judged_by_the_revision(store: JetStreamStore) -> None:
    revision = await store.put(A, b"1", expected=0)
    with pytest.raises(Conflict) as conflict:
        await store.put(A, b"2", expected=0)
    assert conflict.value.current == revision
    assert await store.put(A, b"2", expected=revision) > revision
    with pytest.raises(Conflict):
        await store.delete(A, expected=revision)


async def test_a_removed_key_can_be_created_on_condition(store: JetStreamStore) -> None:
    """A tombstone is not an entry: `expected=0` holds although the engine has a message there."""
    await store.put(A, b"1")
    assert await store.delete(A) > 0
    assert await store.delete(A) == 0
    await store.put(A, b"2", expected=0)


async def test_what_runs_out_is_gone_and_its_past_stays_gone(store: JetStreamStore) -> None:
    await store.put(A, b"for ever")
    await store.put(A, b"for a second", ttl=1)
    async with store.changes() as feed, asyncio.timeout(10):
        async for told in feed:
            if any(change.entry is None for change in told.changes):
                break
    assert await store.get(A) is None
    assert await store.entries() == []
    await store.put(A, b"again", expected=0)


async def test_changes_come_once_and_in_order_over_kills(
    store: JetStreamStore, server: Nats
) -> None:
    """The feed is contiguous although the server is killed between and during writes."""
    seen: list[Change] = []
    acknowledged: list[int] = []

    async def follow() -> None:
        async with store.changes() as feed:
            async for told in feed:
                seen.extend(told.changes)

    async def write() -> None:
        number = 0
        while len(acknowledged) < 300:
            number += 1
            try:
                acknowledged.append(await store.put(Key("k", str(number)), b"%d" % number))
            except Unavailable:
                await asyncio.sleep(0.02)

    follower = asyncio.create_task(follow())
    async with asyncio.timeout(60):
        writer = asyncio.create_task(write())
        for goal in (60, 130, 200):
            await until(lambda goal=goal: len(acknowledged) >= goal)
            await asyncio.to_thread(server.restart)
        await writer
        await until(lambda: seen and seen[-1].revision >= acknowledged[-1])
    follower.cancel()
    revisions = [change.revision for change in seen]
    assert revisions == list(range(1, revisions[-1] + 1))
    assert set(acknowledged) <= set(revisions)
    assert len(await store.entries()) == len(revisions)


async def test_replay_tells_every_change_or_says_that_one_is_gone(store: JetStreamStore) -> None:
    first = await store.put(A, b"1")
    await store.put(B, b"2")
    last = await store.delete(B)
    # The removal took the write of B with it.
    assert [change.revision for change in await store.replay(last - 1, last)] == [last]
    with pytest.raises(Compacted):
        await store.replay(first, last)


async def test_an_absent_engine_is_said_at_once_and_writes_nothing_later(
    store: JetStreamStore, server: Nats, connection: Connection
) -> None:
    server.kill()
    await until(lambda: not connection.connected)
    with pytest.raises(Unavailable, match=r"cannot be reached.*nats-server"):
        await store.put(A, b"lost")
    await asyncio.to_thread(server.start)
    await until(lambda: connection.connected)
    assert await store.get(A) is None


async def test_connecting_to_nothing_names_the_address(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"nats://127\.0\.0\.1:1 cannot be reached"):
        await connect("nats://127.0.0.1:1", name="test", within=0.3)
