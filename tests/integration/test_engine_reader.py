"""The reader brings what a stream keeps, in order, a chunk at a time."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from draft_services.engine.connection import Connection, connect
from draft_services.engine.errors import Unavailable
from draft_services.engine.log import Log, Record
from draft_services.engine.reader import Reader

from tests.support.nats import Nats, running_nats


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


async def fill(log: Log, count: int, size: int = 10) -> None:
    await log.append([Record(("t",), b"x" * size) for _ in range(count)])


async def chunks(reader: Reader, start: int, limit: int) -> list[list[int]]:
    found: list[list[int]] = []
    while messages := await reader.read(start, limit):
        found.append([message.sequence for message in messages])
        start = messages[-1].sequence + 1
    return found


async def test_chunks_join_without_hole_or_repetition(connection: Connection, log: Log) -> None:
    await fill(log, 25)
    reader = Reader(connection, log.name)
    assert await chunks(reader, 4, 10) == [[*range(4, 14)], [*range(14, 24)], [24, 25]]
    await fill(log, 2)
    assert await chunks(reader, 26, 10) == [[26, 27]]
    await reader.close()


async def test_any_position_may_be_read_next(connection: Connection, log: Log) -> None:
    await fill(log, 9)
    reader = Reader(connection, log.name)
    for start in (7, 1, 3, 3, 9, 2):
        messages = await reader.read(start, 2)
        assert [message.sequence for message in messages] == [start, start + 1][: 10 - start]
    assert await reader.read(10, 2) == []
    await reader.close()


async def test_a_chunk_is_bounded_in_bytes(connection: Connection, log: Log) -> None:
    await fill(log, 5, size=1_000_000)
    reader = Reader(connection, log.name)
    found = await chunks(reader, 1, 100)
    assert [sequence for chunk in found for sequence in chunk] == [1, 2, 3, 4, 5]
    assert max(map(len, found)) == 2
    await reader.close()


async def test_reading_goes_on_after_the_engine_was_killed(
    server: Nats, connection: Connection, log: Log
) -> None:
    await fill(log, 20)
    reader = Reader(connection, log.name)
    assert len(await reader.read(1, 10)) == 10
    server.restart()
    async with asyncio.timeout(20):
        while True:
            try:
                messages = await reader.read(11, 100)
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    assert [message.sequence for message in messages] == [*range(11, 21)]
    await reader.close()
