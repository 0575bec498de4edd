"""The bounded log in memory and its cursors."""

import asyncio
from collections.abc import Iterable

from draft_services.catalyst.window import StoredEvent, Window
from hypothesis import given
from hypothesis import strategies as st

ANY = 1 << 30


def stored(sequences: Iterable[int], size: int = 1) -> list[StoredEvent]:
    return [StoredEvent(n, "/s", "t", b"x" * size) for n in sequences]


def sequences(events: Iterable[StoredEvent] | None) -> list[int] | None:
    return None if events is None else [event.sequence for event in events]


def test_a_cursor_reads_on_from_its_position_in_order() -> None:
    window = Window(5, max_events=100, max_bytes=ANY)
    window.append(stored(range(5, 12)))
    assert sequences(window.read(5, 3, ANY)) == [5, 6, 7]
    assert sequences(window.read(8, 100, ANY)) == [8, 9, 10, 11]


def test_a_position_that_is_yet_to_come_reads_nothing() -> None:
    window = Window(5, max_events=100, max_bytes=ANY)
    assert sequences(window.read(5, 10, ANY)) == []
    assert sequences(window.read(9, 10, ANY)) == []


def test_a_forgotten_position_is_told_so() -> None:
    window = Window(5, max_events=8, max_bytes=ANY)
    assert window.read(4, 10, ANY) is None
    window.append(stored(range(5, 15)))
    assert window.read(5, 10, ANY) is None
    assert sequences(window.read(window.first, 100, ANY)) == list(range(window.first, 15))


def test_a_read_stops_at_its_bytes_but_always_brings_one() -> None:
    window = Window(1, max_events=100, max_bytes=ANY)
    window.append(stored(range(1, 6), size=10))
    assert sequences(window.read(1, 100, 25)) == [1, 2]
    assert sequences(window.read(1, 100, 3)) == [1]


def test_a_hole_makes_readers_of_the_far_side_ask_the_engine() -> None:
    window = Window(1, max_events=100, max_bytes=ANY)
    window.append(stored([1, 2, 3]))
    window.append(stored([7, 8]))
    assert window.read(3, 10, ANY) is None
    assert window.read(4, 10, ANY) is None
    assert sequences(window.read(7, 10, ANY)) == [7, 8]


def test_an_event_larger_than_the_window_is_read_from_the_engine() -> None:
    window = Window(1, max_events=100, max_bytes=10)
    window.append(stored([1], size=50))
    assert window.read(1, 10, ANY) is None
    assert window.next == 2


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=20), max_size=30),
    st.integers(1, 20),
    st.integers(1, 200),
)
def test_the_window_is_bounded_contiguous_and_ends_with_the_newest(
    batches: list[list[int]], max_events: int, max_bytes: int
) -> None:
    window = Window(1, max_events=max_events, max_bytes=max_bytes)
    last = 0
    for batch in batches:
        window.append([StoredEvent(last + 1 + i, "", "", b"x" * n) for i, n in enumerate(batch)])
        last += len(batch)
        held = window.read(window.first, ANY, ANY)
        assert held is not None
        assert sequences(held) == list(range(window.first, last + 1))
        assert len(held) <= max_events
        assert sum(len(event.payload) for event in held) <= max_bytes


async def test_everyone_who_waits_is_woken_by_the_next_append() -> None:
    window = Window(1, max_events=10, max_bytes=ANY)
    waiters = [asyncio.create_task(window.changed()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    window.append(stored([1]))
    await asyncio.wait_for(asyncio.gather(*waiters), 1)
    again = asyncio.create_task(window.changed())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()
