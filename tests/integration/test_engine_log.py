"""The log stores every record once, and its feed tells every record once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from draft_services.engine.connection import Connection, connect
from draft_services.engine.errors import Full, Unavailable, Uncertain
from draft_services.engine.feed import Feed, Message, Start
from draft_services.engine.leases import Beats, Leases
from draft_services.engine.log import Log, Record

from tests.support.nats import Nats, running_nats
from tests.support.waiting import until


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
async def log(connection: Connection) -> Log:
    opened = Log(connection, "events")
    await opened.open()
    return opened


def records(*ids: str, kind: str = "shop.order") -> list[Record]:
    return [Record((kind, "source"), id.encode(), id=id) for id in ids]


async def take(feed: Feed, count: int) -> list[Message]:
    messages: list[Message] = []
    async with asyncio.timeout(20), feed:
        async for batch in feed:
            messages += batch.messages
            if len(messages) >= count:
                break
    return messages


async def test_a_duplicate_is_acknowledged_like_the_first_and_stored_once(log: Log) -> None:
    first = await log.append(records("a", "b", "c"))
    assert [appended.sequence for appended in first] == [1, 2, 3]
    again = await log.append(records("c", "d", "a", "d"))
    assert [(each.sequence, each.duplicate) for each in again] == [
        (3, True),
        (4, False),
        (1, True),
        (4, True),
    ]
    assert (await log.state()).messages == 4


async def test_a_feed_starts_where_it_is_told(log: Log) -> None:
    await log.append(records("a", "b"))
    await log.append(records("x", kind="other"))
    times = [message.time_ns for message in await take(log.feed(Start.all()), 3)]
    assert [m.data for m in await take(log.feed(Start.after(1)), 2)] == [b"b", b"x"]
    assert [m.data for m in await take(log.feed(Start.at(times[2])), 1)] == [b"x"]
    only = log.feed(Start.all(), subject=log.subject(["shop.order"], more=True))
    assert [log.path(m.subject) for m in await take(only, 2)] == [["shop.order", "source"]] * 2


async def test_a_slow_reader_loses_nothing(log: Log) -> None:
    """Far more than one window of flow control, while the reader sleeps."""
    count, read = 20_000, 0
    for at in range(0, count, 1000):
        await log.append([Record(("t", "s"), b"x" * 500) for _ in range(at, at + 1000)])
    async with asyncio.timeout(60), log.feed(Start.all()) as feed:
        async for batch in feed:
            for message in batch.messages:
                read += 1
                assert message.sequence == read
            await asyncio.sleep(0.005)
            if read == count:
                assert batch.caught_up
                break


async def test_a_full_log_refuses_and_keeps_what_it_has(connection: Connection) -> None:
    small = Log(connection, "small")
    await small.open(max_bytes=2000)
    with pytest.raises(Full):
        await asyncio.gather(*(small.append([Record(("t",), b"x" * 500)]) for _ in range(10)))
    assert (await small.state()).first == 1


async def test_acknowledged_records_survive_kills(log: Log, server: Nats) -> None:
    acknowledged: set[bytes] = set()

    async def write() -> None:
        for number in range(200):
            batch = records(*(f"{number}.{each}" for each in range(5)))
            while True:
                try:
                    await log.append(batch)
                    break
                except Unavailable:
                    await asyncio.sleep(0.02)
            acknowledged.update(record.data for record in batch)

    async with asyncio.timeout(60):
        writer = asyncio.create_task(write())
        for goal in (100, 400):
            await until(lambda goal=goal: len(acknowledged) >= goal)
            await asyncio.to_thread(server.restart)
        await writer
    stored = [message.data for message in await take(log.feed(Start.all()), 1000)]
    assert len(stored) == len(set(stored)) == 1000
    assert set(stored) == acknowledged


async def test_leases_are_heard_once_the_engine_answers_again(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask = Connection.api

    async def api(self: Connection, verb: str, *rest: Any, **named: Any) -> dict[str, Any]:
        if verb == "STREAM.CREATE.leases" and not asked:
            asked.append(verb)
            raise Uncertain("no answer in time")
        return await ask(self, verb, *rest, **named)

    monkeypatch.setattr(Connection, "api", api)
    async with asyncio.timeout(10), Leases(connection, "leases", max_age=60).beats() as beats:
        async for each in beats:
            assert each.opened
            break
    assert asked


async def test_leases_are_heard_and_say_when_beats_may_be_missing(
    connection: Connection, server: Nats
) -> None:
    """After a restart of the engine, whose memory stream is empty then, beats are heard again."""
    leases = Leases(connection, "leases", max_age=60)
    heard: asyncio.Queue[Beats] = asyncio.Queue()

    async def listen() -> None:
        async with leases.beats() as beats:
            async for each in beats:
                heard.put_nowait(each)

    tasks = [asyncio.create_task(listen()), asyncio.create_task(leases.send())]
    async with asyncio.timeout(30):
        assert (await heard.get()).opened
        leases.beat("pid 1")
        assert [holder for holder, _ in (await heard.get()).beats] == ["pid 1"]
        many = {f"pid {n}" for n in range(12_000)}
        for pid in many:
            leases.beat(pid)
        together: list[str] = []
        messages = 0
        while len(together) < len(many):
            together += [holder for holder, _ in (await heard.get()).beats]
            messages += 1
        assert set(together) == many
        assert messages < 10, "what comes together goes together"
        await asyncio.to_thread(server.restart)
        while not (await heard.get()).opened:
            pass
        leases.beat("pid 2")
        assert [holder for holder, _ in (await heard.get()).beats] == ["pid 2"]
    for task in tasks:
        task.cancel()
