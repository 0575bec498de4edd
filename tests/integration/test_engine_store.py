"""The store on a real JetStream keeps its promises, also over kills."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from draft_services.engine.connection import Connection, connect
from draft_services.engine.errors import Compacted, Conflict, Unavailable
from draft_services.engine.feed import Feed, Start
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


async def stored(connection: Connection, store: JetStreamStore) -> list[str]:
    """The engine's batch of each write that is kept, in order; "" for one by itself."""
    batches = []
    async with Feed(connection, "KV_test", start=Start.all()) as feed:
        async for told in feed:
            batches += [message.headers.get("Nats-Batch-Id", "") for message in told.messages]
            if told.caught_up:
                return batches
    raise AssertionError("a feed does not end")


async def test_writes_that_come_together_go_together_each_with_its_own_revision(
    connection: Connection, store: JetStreamStore
) -> None:
    keys = [Key("k", f"{number}") for number in range(50)]
    revisions = await asyncio.gather(*(store.put(key, key.name.encode()) for key in keys))
    found = {entry.key: entry for entry in await store.entries()}
    assert [found[key].revision for key in keys] == revisions
    assert [found[key].value for key in keys] == [key.name.encode() for key in keys]
    assert len(set(await stored(connection, store))) < 5


async def test_one_whose_condition_does_not_hold_takes_no_other_along(
    store: JetStreamStore,
) -> None:
    there = await store.put(A, b"1")
    keys = [Key("k", f"{number}") for number in range(5)]
    results = await asyncio.gather(
        *(store.put(key, b"x", expected=0) for key in keys),
        store.put(A, b"2", expected=0),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [int] * 5 + [Conflict]
    assert (await store.get(A)).revision == there  # type: ignore[union-attr]
    assert len(await store.entries()) == 6


async def test_of_those_who_create_a_key_together_one_does(store: JetStreamStore) -> None:
    await store.put(B, b"begins")  # so that the others gather behind it
    others = [store.put(Key("k", str(number)), b"x") for number in range(5)]
    creators = [store.put(A, str(number).encode(), expected=0) for number in range(8)]
    results = await asyncio.gather(*others, *creators, return_exceptions=True)
    winners = [number for number, each in enumerate(results[5:]) if isinstance(each, int)]
    assert len(winners) == 1
    assert [type(each) for each in results].count(Conflict) == 7
    entry = await store.get(A)
    assert entry is not None
    assert entry.value == str(winners[0]).encode()
    assert entry.revision == results[5 + winners[0]]


async def test_writes_of_one_key_keep_their_order_in_a_crowd(store: JetStreamStore) -> None:
    writes = [(Key("k", str(number % 3)), str(number).encode()) for number in range(60)]
    revisions = await asyncio.gather(*(store.put(*write) for write in writes))
    for name in range(3):
        own = revisions[name::3]
        assert own == sorted(own)
    assert {entry.value for entry in await store.entries()} == {b"57", b"58", b"59"}


async def test_removals_and_what_runs_out_of_one_key_hold_in_a_crowd(store: JetStreamStore) -> None:
    """What takes the key's history along cannot follow another write of it in one batch."""
    await store.put(A, b"0")
    writes = [store.put(A, b"1"), store.put(A, b"2", ttl=60), store.delete(A), store.put(A, b"3")]
    writes += [store.put(Key("k", str(number)), b"x", ttl=60) for number in range(5)]
    revisions = await asyncio.gather(*writes)
    assert len(set(revisions)) == 9
    entry = await store.get(A)
    last = max(revisions[:4])
    assert (entry.revision if entry else None) == (last if last != revisions[2] else None)


async def test_removals_and_what_runs_out_go_together_with_the_rest(
    store: JetStreamStore,
) -> None:
    for number in range(6):
        await store.put(Key("k", str(number)), b"1")
    await asyncio.gather(
        *(store.delete(Key("k", str(number))) for number in range(3)),
        *(store.put(Key("k", str(number)), b"2", ttl=60) for number in range(3, 6)),
        store.put(A, b"3"),
    )
    left = {entry.key: (entry.value, bool(entry.expires)) for entry in await store.entries()}
    expected = {Key("k", str(number)): (b"2", True) for number in range(3, 6)}
    assert left == {**expected, A: (b"3", False)}
    assert len(await store.history(Key("k", "4"))) == 1


async def test_whoever_leaves_takes_no_other_write_along(store: JetStreamStore) -> None:
    leaving = asyncio.create_task(store.put(A, b"a"))
    staying = [asyncio.create_task(store.put(Key("k", str(n)), b"b")) for n in range(5)]
    await asyncio.sleep(0)  # they are on their way
    leaving.cancel()
    assert all(isinstance(each, int) for each in await asyncio.gather(*staying))


async def test_of_a_crowd_whose_engine_is_killed_every_acknowledged_write_is_kept(
    server: Nats, connection: Connection, store: JetStreamStore
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    kill_after = random.Random(seed).randrange(100, 600)
    acknowledged: dict[Key, int] = {}

    async def write(client: int) -> None:
        for number in range(40):
            key = Key("k", f"{client}/{number}")
            try:
                acknowledged[key] = await store.put(key, b"x")
            except Unavailable:
                return

    writing = asyncio.gather(*map(write, range(20)))
    await until(lambda: len(acknowledged) >= kill_after or writing.done())
    server.kill()
    await asyncio.wait_for(writing, 30)
    server.start()
    await until(lambda: connection.connected)
    found = {entry.key: entry.revision for entry in await store.entries()}
    assert acknowledged.items() <= found.items()
