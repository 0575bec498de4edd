"""A cursor loses nothing between memory and engine, and says so when the log itself has lost it."""

import asyncio
from collections.abc import Sequence

import pytest
from draft_services.catalyst import subscription
from draft_services.catalyst.errors import CatalystError, DataLoss, OutOfRange, Unavailable
from draft_services.catalyst.journal import Bounds
from draft_services.catalyst.subscription import Subscription
from draft_services.catalyst.template import Template
from draft_services.catalyst.window import StoredEvent, Window
from hypothesis import given
from hypothesis import strategies as st

ANY = 1 << 30


class FakeJournal:
    """A log in memory that is its own reader."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.failures: list[CatalystError] = []
        self.holes: list[tuple[int, int]] = []
        self.reads = 0
        self.open_readers = 0

    def store(self, sequences: Sequence[int], type: str = "t") -> list[StoredEvent]:
        new = [StoredEvent(n, "/s", type, b"x") for n in sequences]
        self.events += new
        return new

    async def bounds(self) -> Bounds:
        return Bounds(self.events[0].sequence, self.events[-1].sequence)

    async def check_hole(self, first: int, last: int) -> None:
        self.holes.append((first, last))
        if self.failures:
            raise self.failures.pop(0)

    def reader(self) -> "FakeJournal":
        self.open_readers += 1
        return self

    async def read(self, position: int, limit: int) -> list[StoredEvent]:
        await asyncio.sleep(0)
        self.reads += 1
        if self.failures:
            raise self.failures.pop(0)
        return [event for event in self.events if event.sequence >= position][:limit]

    async def close(self) -> None:
        self.open_readers -= 1


def subscribe(
    window: Window, journal: FakeJournal, position: int, type: str = "", exact: bool = True
) -> Subscription:
    return Subscription(
        window,
        journal,  # type: ignore[arg-type]
        Template.parse(type=type),
        position,
        exact=exact,
    )


async def take(cursor: Subscription, count: int, limit: int = 100) -> list[int]:
    seen: list[int] = []
    async with asyncio.timeout(5):
        while len(seen) < count:
            seen += [event.sequence for event in await cursor.next(limit, ANY)]
    return seen


async def test_who_keeps_up_never_asks_the_engine() -> None:
    journal, window = FakeJournal(), Window(1, max_events=100, max_bytes=ANY)
    cursor = subscribe(window, journal, 1)
    for n in range(1, 20):
        window.append(journal.store([n]))
        assert await take(cursor, 1) == [n]
    assert journal.reads == 0


async def test_from_the_past_into_the_window_and_on() -> None:
    journal, window = FakeJournal(), Window(601, max_events=100, max_bytes=ANY)
    journal.store(range(1, 601))
    window.append(journal.store(range(601, 611)))
    cursor = subscribe(window, journal, 5)
    assert await take(cursor, 606) == [*range(5, 611)]
    window.append(journal.store([611]))
    assert await take(cursor, 1) == [611]
    assert journal.reads == 3
    assert journal.open_readers == 0


@given(
    st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(1, 9)), max_size=40),
    st.integers(1, 12),
)
def test_however_slow_each_matching_event_comes_once_and_in_order(
    steps: list[tuple[int, bool, int]], window_size: int
) -> None:
    """Appends and reads in any rhythm, over a window that is often too short."""

    async def run() -> None:
        journal, window = FakeJournal(), Window(1, max_events=window_size, max_bytes=ANY)
        cursor = subscribe(window, journal, 1, type="wanted")
        expected: list[int] = []
        seen: list[int] = []
        last = 0
        for count, wanted, limit in steps:
            new = journal.store(
                range(last + 1, last + 1 + count), "wanted" if wanted else "unwanted"
            )
            last += count
            window.append(new)
            expected += [event.sequence for event in new if wanted]
            if len(seen) < len(expected):
                seen += await take(cursor, 1, limit)
        seen += await take(cursor, len(expected) - len(seen))
        assert seen == expected

    asyncio.run(run())


async def test_a_batch_brings_only_what_is_there() -> None:
    journal, window = FakeJournal(), Window(1, max_events=100, max_bytes=ANY)
    window.append(journal.store(range(1, 6)))
    cursor = subscribe(window, journal, 1)
    assert [event.sequence for event in await cursor.next(3, ANY)] == [1, 2, 3]
    assert [event.sequence for event in await cursor.next(3, ANY)] == [4, 5]


async def test_a_batch_is_bounded_in_bytes_but_never_empty() -> None:
    journal, window = FakeJournal(), Window(1, max_events=100, max_bytes=ANY)
    window.append([StoredEvent(n, "/s", "t", b"x" * 10) for n in range(1, 4)])
    cursor = subscribe(window, journal, 1)
    assert len(await cursor.next(100, 25)) == 2
    assert len(await cursor.next(100, 5)) == 1


async def test_expired_events_are_never_skipped_in_silence() -> None:
    journal, window = FakeJournal(), Window(101, max_events=100, max_bytes=ANY)
    journal.store(range(50, 101))
    cursor = subscribe(window, journal, 40)
    with pytest.raises(OutOfRange, match="sequence 40 is no longer kept: the log begins at 50"):
        await take(cursor, 1)


async def test_all_begins_with_what_is_kept_by_then_and_is_exact_from_there() -> None:
    journal, window = FakeJournal(), Window(1001, max_events=100, max_bytes=ANY)
    journal.store(range(50, 1001))
    cursor = subscribe(window, journal, 40, exact=False)
    assert await take(cursor, 1, limit=subscription.CHUNK_EVENTS) == [*range(50, 306)]
    del journal.events[:300]
    with pytest.raises(OutOfRange, match=r"sequence 306 .* begins at 350"):
        await take(cursor, 1)


async def test_a_hole_in_the_middle_was_never_an_event() -> None:
    journal, window = FakeJournal(), Window(21, max_events=100, max_bytes=ANY)
    journal.store([*range(1, 10), *range(15, 18)])
    cursor = subscribe(window, journal, 1)
    assert await take(cursor, 9, limit=9) == [*range(1, 10)]
    assert await take(cursor, 3) == [15, 16, 17]
    window.append(journal.store([21]))
    assert await take(cursor, 1) == [21]


async def test_what_is_lost_in_the_middle_is_said_after_all_that_comes_before() -> None:
    journal, window = FakeJournal(), Window(21, max_events=100, max_bytes=ANY)
    journal.store([*range(1, 10), *range(15, 18)])
    cursor = subscribe(window, journal, 1)
    assert await take(cursor, 9, limit=9) == [*range(1, 10)]
    journal.check_hole = lost  # type: ignore[method-assign]
    with pytest.raises(DataLoss):
        await take(cursor, 1)
    with pytest.raises(DataLoss):  # it is not passed over by asking again
        await take(cursor, 1)
    assert await take(subscribe(window, journal, 15), 3) == [15, 16, 17]


async def lost(first: int, last: int) -> None:
    assert (first, last) == (10, 14)
    raise DataLoss("10 to 14")


async def test_what_another_copy_has_is_read_again() -> None:
    journal, window = FakeJournal(), Window(21, max_events=100, max_bytes=ANY)
    journal.store([1, 3])
    cursor = subscribe(window, journal, 1)
    assert await take(cursor, 1, limit=1) == [1]
    check = journal.check_hole

    async def there(first: int, last: int) -> None:
        journal.events.insert(1, StoredEvent(2, "/s", "t", b"x"))
        await check(first, last)
        raise Unavailable("another node has it")

    journal.check_hole = there  # type: ignore[method-assign]
    assert await take(cursor, 2) == [2, 3]
    assert journal.holes == [(2, 2)]


async def test_an_outage_of_the_engine_is_waited_out() -> None:
    journal, window = FakeJournal(), Window(11, max_events=100, max_bytes=ANY)
    journal.store(range(1, 11))
    journal.failures = [Unavailable("gone"), Unavailable("still gone")]
    assert await take(subscribe(window, journal, 1), 10) == [*range(1, 11)]


async def test_closing_sends_the_waiting_away() -> None:
    window = Window(1, max_events=100, max_bytes=ANY)
    waiting = asyncio.create_task(take(subscribe(window, FakeJournal(), 1), 1))
    await asyncio.sleep(0)
    window.close()
    with pytest.raises(Unavailable, match="after the last sequence seen"):
        await asyncio.wait_for(waiting, 5)
