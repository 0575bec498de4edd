"""Group commit: what all producers send meanwhile goes to the log as one batch, in one order.

The log syncs a batch about as fast as a single event, so this is what makes many producers fast.
Only one batch is on its way at a time. So when the engine is lost, the same events are tried again
in the same order, and nothing can overtake them; the log keeps the repetitions out.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from chassis.figures import Sizes
from draft_services.catalyst.errors import CatalystError, StoresNothing, Unavailable
from draft_services.catalyst.events import Event

logger = logging.getLogger(__name__)

# One batch: what the engine takes atomically, well under its 1,000, and a few large events.
BATCH_EVENTS = 500
BATCH_BYTES = 2 * 1024 * 1024
# What all producers may have waiting together, before they are read no further.
PENDING_BYTES = 16 * 1024 * 1024
# How long an outage of the engine is waited out: a killed one is back within seconds, a lost
# leader of three within eight. Beyond, producers are told, and told at once until it is back.
PATIENCE = 10.0
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, BATCH_EVENTS)
_OVERHEAD = 512  # what an event takes beside its payload, roughly
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 0.5

Outcome = int | CatalystError
"""An event's sequence, or why it is not stored."""


class _Pending(NamedTuple):
    event: Event
    outcome: asyncio.Future[Outcome]


class Committer:
    """The one way into the log; `run` must be running."""

    def __init__(
        self,
        append: Callable[[Sequence[Event]], Awaitable[Sequence[int]]],
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._append = append
        self._patience = patience
        self._pending: list[_Pending] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._lost_at: float | None = None
        self._refusal: StoresNothing | None = None
        self._committing = False
        self.stored = 0
        """Events that are on disk."""
        self.batches = Sizes(_SIZES)
        """How many events went together."""

    async def submit(self, event: Event) -> asyncio.Future[Outcome]:
        """Puts an event behind all submitted before it. Waits when too much is waiting.

        While nothing is stored, one batch at a time finds out when that is over; the others are
        refused at once.
        """
        if self._refusal and self._committing:
            refused: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            refused.set_result(self._refusal)
            return refused
        while self._bytes >= PENDING_BYTES:
            self._room.clear()
            await self._room.wait()
        pending = _Pending(event, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        self._bytes += _cost(event)
        self._arrived.set()
        return pending.outcome

    async def run(self) -> None:
        """Commits until cancelled."""
        while True:
            await self._arrived.wait()
            batch = self._take()
            self._committing = True
            outcomes = await self._commit([pending.event for pending in batch])
            self._committing = False
            for pending, outcome in zip(batch, outcomes, strict=True):
                if not pending.outcome.done():
                    pending.outcome.set_result(outcome)

    def _take(self) -> list[_Pending]:
        size = count = 0
        for pending in self._pending[:BATCH_EVENTS]:
            size += _cost(pending.event)
            if count and size > BATCH_BYTES:
                break
            count += 1
        batch = self._pending[:count]
        del self._pending[:count]
        self._bytes -= sum(_cost(pending.event) for pending in batch)
        self._room.set()
        if not self._pending:
            self._arrived.clear()
        return batch

    async def _commit(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        wait = _FIRST_WAIT
        while True:
            try:
                sequences = await self._append(batch)
            except Unavailable as error:
                if self._lost_at is None:
                    self._lost_at = time.monotonic()
                    logger.warning("%d events wait: %s", len(batch), error)
                if time.monotonic() - self._lost_at >= self._patience:
                    return [error] * len(batch)
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except StoresNothing as error:
                self._refusal = error
                return [error] * len(batch)
            except CatalystError as error:
                if len(batch) == 1:
                    return [error]
                # It may concern one of them only: the others are stored, or smaller and still fit.
                return [outcome for event in batch for outcome in await self._commit([event])]
            else:
                self._lost_at = self._refusal = None
                self.stored += len(batch)
                self.batches.note(len(batch))
                return sequences


def _cost(event: Event) -> int:
    return len(event.payload) + _OVERHEAD
