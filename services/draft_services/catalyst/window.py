"""The newest events in memory: one bounded log that every consumer reads with a cursor of its own.

An event is held once, however many consumers read it; a consumer is no more than a position. The
window forgets its oldest events when it is full, so it never grows with a slow consumer: one whose
position has been forgotten is told so, and reads on from the engine until it has caught up.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from draft_services.catalyst.errors import Unavailable


class StoredEvent(NamedTuple):
    """An event with its place in the log. `payload` is the serialized CloudEvent."""

    sequence: int
    source: str
    type: str
    payload: bytes


class Window:
    """A contiguous run of the log: every event from `first` up to, not including, `next`."""

    def __init__(self, start: int, *, max_events: int, max_bytes: int) -> None:
        self.first = start
        self.next = start
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: list[StoredEvent] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._closed = False

    def append(self, events: Sequence[StoredEvent]) -> None:
        """Adds what the feed has brought, and wakes everyone who waits for it."""
        for event in events:
            if event.sequence != self.next:
                # A hole: what is held no longer connects with what comes. Readers on the far side
                # of it ask the engine, which knows whether anything is missing.
                self._forget(len(self._events))
                self.first = event.sequence
            self._events.append(event)
            self._bytes += len(event.payload)
            self.next = event.sequence + 1
        self._trim()
        self._wake()

    def read(self, position: int, limit: int, max_bytes: int) -> Sequence[StoredEvent] | None:
        """The events from `position` on: none when they have yet to come, None when forgotten.

        At most `limit` of them, and no more than fit in `max_bytes`, but at least one.
        """
        if position < self.first:
            return None
        start = position - self.first
        chunk = self._events[start : start + limit]
        size = 0
        for count, event in enumerate(chunk):
            size += len(event.payload)
            if size > max_bytes and count:
                return chunk[:count]
        return chunk

    async def changed(self) -> None:
        """Waits for the next `append`. Nothing is missed between a `read` and this call, because
        there is no await between them. Raises `Unavailable` once the window is closed."""
        if not self._closed:
            await self._changed.wait()
        if self._closed:
            raise Unavailable(
                "this Catalyst is going down: call again and start after the last sequence seen"
            )

    def close(self) -> None:
        """Sends everyone away who waits or will wait."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._changed = self._changed, asyncio.Event()
        waiters.set()

    def _trim(self) -> None:
        if len(self._events) <= self._max_events and self._bytes <= self._max_bytes:
            return
        # Down to three quarters at once: deleting from the front of a list moves all the rest, so
        # it is paid once for many events.
        count, size = len(self._events), self._bytes
        surplus = 0
        while surplus < len(self._events) and (
            count > self._max_events * 3 // 4 or size > self._max_bytes * 3 // 4
        ):
            size -= len(self._events[surplus].payload)
            count -= 1
            surplus += 1
        self._forget(surplus)

    def _forget(self, count: int) -> None:
        self._bytes -= sum(len(event.payload) for event in self._events[:count])
        del self._events[:count]
        self.first += count
