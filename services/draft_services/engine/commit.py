"""Group commit: writes that come while others are on their way go together.

The engine syncs the disk for every message by itself, and once for a batch, so this is what makes
many writers fast; one alone waits for nobody. A batch that is refused says not because of whom:
then each of its writes goes by itself, and fails or holds by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from chassis.figures import Sizes
from draft_services.engine.batches import Outgoing, store_all
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, Full, Unavailable
from draft_services.engine.storing import Storing

_BATCH = 200  # beyond that a batch is no faster
_BATCH_BYTES = 2 * 1024 * 1024
_OVERHEAD = 100  # bytes that a message takes beside its subject and data, nearly
_SIZES = (1, 2, 5, 10, 20, 50, 100, _BATCH)


class _Pending(NamedTuple):
    message: Outgoing
    doing: str
    sequence: asyncio.Future[int]


class GroupCommit:
    """The way into one stream."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.batches = Sizes(_SIZES)
        """How many writes went together."""
        self.written = 0
        """Writes that are on disk."""
        self.bytes = 0
        """What they took there, nearly."""
        self._held_until = 0.0
        self._storing = Storing()
        self._pending: list[_Pending] = []
        self._sending: asyncio.Task[None] | None = None

    @property
    def why_not(self) -> str:
        """Why nothing is stored now, in words; "" as far as it is."""
        return self._storing.why_not(time.monotonic())

    def hold(self, seconds: float) -> None:
        """Refuse what comes from now on, for so long; what is on its way goes on."""
        self._held_until = time.monotonic() + seconds

    async def write(self, message: Outgoing, *, doing: str) -> int:
        """Store a message; returns its sequence once it is on disk.

        While nothing is stored, one write at a time finds out when that is over; `Full` says so to
        the others at once.
        """
        if time.monotonic() < self._held_until:
            raise Unavailable(f"{doing}: the engine's data are being moved; try again")
        if self._sending is not None and (why := self.why_not):
            raise Full(f"{doing}: {why}")
        sequence: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pending.append(_Pending(message, doing, sequence))
        if self._sending is None:
            # A task of its own: whoever began it may go before the others are served.
            self._sending = asyncio.create_task(self._send())
        return await sequence

    async def _send(self) -> None:
        try:
            while self._pending:
                batch = self._take()
                try:
                    await self._store(batch)
                finally:
                    for pending in batch:
                        pending.sequence.cancel()  # only where there is no answer yet
        finally:
            self._sending = None

    def _take(self) -> list[_Pending]:
        """The next ones, of each subject one: within a batch, what takes a subject's history along
        (a removal, a TTL) cannot follow another write of it."""
        taken: list[_Pending] = []
        left: list[_Pending] = []
        subjects: set[str] = set()
        size = 0
        for at, pending in enumerate(self._pending):
            subject, data, _ = pending.message
            if taken and (len(taken) == _BATCH or size + len(data) > _BATCH_BYTES):
                left += self._pending[at:]
                break
            if subject in subjects:
                left.append(pending)
                continue
            taken.append(pending)
            subjects.add(subject)
            size += len(data)
        self._pending = left
        return taken

    async def _store(self, batch: Sequence[_Pending]) -> None:
        self.batches.note(len(batch))
        if len(batch) == 1:
            await self._single(batch[0])
            return
        asked = time.monotonic()
        try:
            messages = [pending.message for pending in batch]
            doing = f"write {len(batch)} keys"
            first = await store_all(self._connection, messages, doing=doing)
        except Unavailable as error:
            self._note(error, asked)
            for pending in batch:
                _fail(pending, type(error)(f"{pending.doing}: {error}"))
        except EngineError:
            await asyncio.gather(*map(self._single, batch))
        else:
            for offset, pending in enumerate(batch):
                self._done(pending, first + offset)

    async def _single(self, pending: _Pending) -> None:
        subject, data, headers = pending.message
        asked = time.monotonic()
        try:
            ack = await self._connection.write(subject, data, doing=pending.doing, headers=headers)
        except EngineError as error:
            self._note(error, asked)
            _fail(pending, error)
        else:
            self._done(pending, int(ack["seq"]))

    def _done(self, pending: _Pending, sequence: int) -> None:
        self._storing.stored()
        self.written += 1
        self.bytes += len(pending.message.subject) + len(pending.message.data) + _OVERHEAD
        if not pending.sequence.done():
            pending.sequence.set_result(sequence)

    def _note(self, error: EngineError, asked: float) -> None:
        self._storing.note(error, asked, connected=self._connection.connected)


def _fail(pending: _Pending, error: EngineError) -> None:
    if not pending.sequence.done():
        pending.sequence.set_exception(error)
