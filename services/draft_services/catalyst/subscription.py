"""One consumer's place in the log: a cursor over the window that falls back to the engine.

A consumer that keeps up reads from memory. One that starts in the past, or is slower than the
window is long, reads from the engine, a bounded chunk at a time and only as fast as it takes them,
until it has reached the window again. So nothing is lost and nothing piles up.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from draft_services.catalyst.errors import OutOfRange, Unavailable
from draft_services.catalyst.journal import Journal, JournalReader
from draft_services.catalyst.template import Template
from draft_services.catalyst.window import StoredEvent, Window

# What a consumer holds of the log at most while its client is busy.
CHUNK_EVENTS = 256
CHUNK_BYTES = 1024 * 1024
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 0.5


class Subscription:
    """The events that `template` selects, from `position` on, each once and in order.

    `exact`: the event at `position` itself must still be kept. Without it, the reading begins with
    the first that is kept from there on; from then on it is exact in either case.
    """

    def __init__(
        self, window: Window, journal: Journal, template: Template, position: int, *, exact: bool
    ) -> None:
        self._window = window
        self._journal = journal
        self._template = template
        self._position = position
        self._exact = exact
        self._ahead: deque[StoredEvent] = deque()
        self._reader: JournalReader | None = None
        self.delivered = 0
        """Events that were taken."""
        self.on_close: Callable[[Subscription], None] = lambda _: None

    @property
    def position(self) -> int:
        """The sequence to go on from, were this consumer to begin again."""
        return self._ahead[0].sequence if self._ahead else self._position

    async def next(self, limit: int, max_bytes: int) -> list[StoredEvent]:
        """Waits for at least one event; brings more only if they are there already."""
        while True:
            if not self._ahead:
                chunk = await self._fetch()
                self._ahead.extend(chunk)
                self._position = chunk[-1].sequence + 1
            if taken := self._take(limit, max_bytes):
                self.delivered += len(taken)
                return taken

    def _take(self, limit: int, max_bytes: int) -> list[StoredEvent]:
        taken: list[StoredEvent] = []
        size = 0
        while self._ahead and len(taken) < limit:
            event = self._ahead[0]
            if self._template.matches(source=event.source, type=event.type):
                size += len(event.payload)
                if taken and size > max_bytes:
                    break
                taken.append(event)
            self._ahead.popleft()
        return taken

    async def aclose(self) -> None:
        """Ends the reading."""
        self.on_close(self)
        await self._leave()

    async def _leave(self) -> None:
        """Lets go of what the engine holds for it."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()

    async def _fetch(self) -> Sequence[StoredEvent]:
        """The next chunk of the log, matching or not; never empty."""
        wait = _FIRST_WAIT
        while True:
            chunk = self._window.read(self._position, CHUNK_EVENTS, CHUNK_BYTES)
            if chunk:
                await self._leave()
                return chunk
            if chunk is not None:
                await self._window.changed()
                continue
            try:
                chunk = await self._replay()
            except Unavailable:
                # Waited out, as the feed behind the window does.
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                if chunk:
                    return chunk

    async def _replay(self) -> Sequence[StoredEvent]:
        wanted = self._position
        if self._reader is None:
            self._reader = self._journal.reader()
        chunk = await self._reader.read(wanted, CHUNK_EVENTS)
        whole = _until_a_hole(chunk, wanted)
        if whole:  # what comes before a hole is handed out first
            self._exact = True
            return whole
        if self._exact:
            # Either the log has dropped its oldest events and this consumer would miss some, or
            # there is a hole in the middle.
            first = (await self._journal.bounds()).first
            if wanted < first:
                raise OutOfRange(
                    f"sequence {wanted} is no longer kept: the log begins at {first}; "
                    "start from there, or from all"
                )
        self._exact = True
        reached = chunk[0].sequence if chunk else self._window.first
        if reached > wanted:
            try:
                await self._journal.check_hole(wanted, reached - 1)
            except Unavailable:
                await self._leave()
                raise
        if not chunk:
            self._position = self._window.first
        return _until_a_hole(chunk, reached)


def _until_a_hole(chunk: Sequence[StoredEvent], position: int) -> Sequence[StoredEvent]:
    """The events from `position` on that follow each other."""
    count = len(chunk)
    if chunk and chunk[-1].sequence != position + count - 1:
        count = next(at for at, each in enumerate(chunk) if each.sequence != position + at)
    return chunk[:count]
