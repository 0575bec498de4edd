"""The log of events in the engine, in Catalyst's terms; the engine's errors become ours here.

Events lie as serialized CloudEvents on the subject ``ce.<type>.<source>``.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from draft_services.catalyst import events
from draft_services.catalyst.errors import (
    CatalystError,
    DataLoss,
    LogFull,
    StoresNothing,
    Unavailable,
)
from draft_services.catalyst.events import Event
from draft_services.catalyst.window import StoredEvent
from draft_services.engine import errors as engine
from draft_services.engine import subjects
from draft_services.engine.connection import Connection, Login
from draft_services.engine.feed import Message, Start
from draft_services.engine.log import Log, Record
from draft_services.engine.reader import Reader
from draft_services.engine.storing import Storing

STREAM = "ce"
_FIND_TIMEOUT = 5.0


class Bounds(NamedTuple):
    """The oldest and the newest sequence that are kept; of an empty log, `first` = `last` + 1."""

    first: int
    last: int


class Journal:
    """The one log that all Catalysts of a cluster share."""

    def __init__(self, url: str, login: Login | None = None, epoch: int = 0) -> None:
        self._connection = Connection(url, name="catalyst", login=login, epoch=epoch)
        self._log = Log(self._connection, STREAM)
        self._storing = Storing()
        self._connection.on_reconnect(self._storing.lost)

    @property
    def why_not(self) -> str:
        """Why nothing is stored, in words, although the engine answers; "" as far as it is."""
        return self._storing.why_not(time.monotonic())

    async def connect(self) -> None:
        """Connect to the engine; it is kept from then on. May be tried again after a failure."""
        with _translated():
            await self._connection.open()

    async def close(self) -> None:
        """Never fails."""
        await self._connection.close()

    async def open(self, *, max_bytes: int, max_age: float, dedup_window: float) -> None:
        """Create the stream, or bring its limits up to date. Full means refused: back-pressure."""
        if max_age:
            dedup_window = min(dedup_window, max_age)  # the engine allows no longer one
        try:
            with _translated():
                await self._log.open(
                    max_bytes=max_bytes, max_age=max_age, dedup_window=dedup_window
                )
        except LogFull as error:
            raise CatalystError(
                f"catalyst.max_store: the engine has less than {max_bytes} bytes to give; "
                "lower it, or raise the engine's own limit (core.nats.max_store)"
            ) from error

    async def append(self, batch: Sequence[Event]) -> list[int]:
        """Stores events in order; returns their sequences once all are on disk.

        On an error some may be stored: appending them again stores none twice.
        """
        records = [
            Record((event.type, event.source), event.payload, id=events.identity(event))
            for event in batch
        ]
        asked = time.monotonic()
        try:
            with _translated():
                done = await self._log.append(records)
        except LogFull:
            self._storing.stored()  # it says itself what it has no room for
            raise
        except Unavailable as error:
            if isinstance(error.__cause__, engine.EngineError):
                connected = self._connection.connected
                self._storing.note(error.__cause__, asked, connected=connected)
            if why := self.why_not:
                raise StoresNothing(why) from error
            raise
        self._storing.stored()
        return [each.sequence for each in done]

    async def check_hole(self, first: int, last: int) -> None:
        """Return if these sequences, which a reading did not bring, are kept no longer. Raises
        `DataLoss`, or `Unavailable` when another reading may bring them: copies differ."""
        with _translated():
            became = await self._log.unread(first, last)
        if became == "lost":
            raise DataLoss(
                f"events {first} to {last} were stored and cannot be read: what the engine keeps is"
                f" damaged (dctl cluster status). Restore a backup, or go on from {last + 1}"
            )
        if became == "there":
            raise Unavailable(f"events {first} to {last} are on another node of the engine")

    async def bounds(self) -> Bounds:
        """What is kept as of now."""
        with _translated():
            state = await self._log.state()
        return Bounds(state.first if state.messages else state.last + 1, state.last)

    async def find(self, time_ns: int) -> int:
        """The sequence of the first event stored at or after a time (nanoseconds since 1970);
        that of the next event when there is none."""
        try:
            async with asyncio.timeout(_FIND_TIMEOUT), self._log.feed(Start.at(time_ns)) as feed:
                batch = await anext(feed)
        except TimeoutError as error:
            raise Unavailable("the event log cannot be reached: try again") from error
        return batch.messages[0].sequence if batch.messages else batch.revision + 1

    async def follow(self, after: int) -> AsyncIterator[list[StoredEvent]]:
        """Every event behind `after`, as it is stored; losses of the engine are waited out.

        The first list comes as soon as the feed is open, and may be empty.
        """
        async with self._log.feed(Start.after(after)) as feed:
            async for batch in feed:
                yield [_stored(message) for message in batch.messages]

    def reader(self) -> "JournalReader":
        """Reads what is kept, chunk by chunk. Close it."""
        return JournalReader(Reader(self._connection, STREAM))


class JournalReader:
    """One reading of the past."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def read(self, position: int, limit: int) -> list[StoredEvent]:
        """The events from `position` on; sequences that are not kept are skipped."""
        with _translated():
            return [_stored(message) for message in await self._reader.read(position, limit)]

    async def close(self) -> None:
        """Never fails."""
        await self._reader.close()


def _stored(message: Message) -> StoredEvent:
    type_, source = _path(message.subject)
    return StoredEvent(message.sequence, source, type_, message.data)


@lru_cache(maxsize=4096)  # few subjects carry many events
def _path(subject: str) -> tuple[str, str]:
    _, type_, source = subject.split(".")
    return subjects.text(type_), subjects.text(source)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except engine.Full as error:
        raise LogFull(
            "the event log is full (its limits are catalyst.max_store and the engine's disk): "
            "try again when events have expired, or raise the limit"
        ) from error
    except (engine.Unavailable, engine.NotFound, engine.Replaced) as error:
        # The log is not there, or another one, while a backup is restored: this process ends then.
        raise Unavailable(f"the event log cannot be reached: {error}") from error
    except engine.EngineError as error:
        raise CatalystError(f"the event log refused: {error}") from error
