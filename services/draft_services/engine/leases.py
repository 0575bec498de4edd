"""Signs of life in a memory stream.

A beat writes nothing to disk and every reader of the stream hears it. Those of a moment go
together: of ten thousand processes there are thousands in a second. The stream is empty after a
restart of the engine, and a reader may have missed beats while it was away; `opened` says so, and
whoever counts the silence must then start anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

from draft_services.engine import streams, subjects
from draft_services.engine.connection import Connection
from draft_services.engine.errors import NotFound, Replaced, Unavailable
from draft_services.engine.feed import Feed, Message, Start

logger = logging.getLogger(__name__)

_AGAIN = 0.2  # seconds
_MOMENT = 0.1  # seconds in which beats are gathered: nothing beside the seconds of a silence
_TOGETHER = 5000  # holders in one message, which has to stay far below the engine's limit
# The stream keeps the last message of each subject. A reader that is this many behind has missed
# more than beats.
_KEPT = 256


@dataclass(frozen=True, slots=True)
class Beats:
    """Who showed a sign of life, and when (nanoseconds since 1970, by the engine's clock)."""

    beats: list[tuple[str, int]]
    opened: bool
    """First after opening, or after a loss of the engine: beats before it may be missing."""


class Leases:
    """One memory stream of beats; `open` it before use, and let `send` run."""

    def __init__(self, connection: Connection, name: str, *, max_age: float) -> None:
        self._connection = connection
        self._name = name
        self._max_age = max_age
        node = uuid4().hex
        self._subjects = itertools.cycle([f"{name}.{node}.{n}" for n in range(_KEPT)])
        self._alive: set[str] = set()
        self._any = asyncio.Event()

    async def open(self) -> None:
        """Create the stream where it is not there yet (after a restart of the engine as well)."""
        config = streams.lease_config(self._name, max_age=self._max_age)
        await streams.ensure(self._connection, config)

    def beat(self, holder: str) -> None:
        """Show a sign of life. Not acknowledged: the next one makes up for a lost one."""
        self._alive.add(holder)
        self._any.set()

    async def send(self) -> None:
        """Send the beats, for ever."""
        while True:
            await self._any.wait()
            await asyncio.sleep(_MOMENT)
            self._any.clear()
            alive, self._alive = list(map(subjects.token, self._alive)), set()
            for at in range(0, len(alive), _TOGETHER):
                # Without the engine nobody hears them, and once it is back, all leases start anew.
                with contextlib.suppress(Unavailable):
                    await self._connection.publish(
                        next(self._subjects),
                        " ".join(alive[at : at + _TOGETHER]).encode(),
                        doing="renew leases",
                    )

    @asynccontextmanager
    async def beats(self) -> AsyncIterator[AsyncIterator[Beats]]:
        """Every beat from now on, over losses of the engine."""
        yield self._listen()

    async def _listen(self) -> AsyncIterator[Beats]:
        while True:
            try:
                await self.open()
                async with Feed(self._connection, self._name, start=Start.new()) as feed:
                    async for batch in feed:
                        beats = [beat for message in batch.messages for beat in _beats(message)]
                        yield Beats(beats, batch.opened)
            except (NotFound, Replaced):
                continue  # the engine has restarted and holds no leases: begin a new stream
            except Unavailable as error:
                logger.info("leases are heard again after a while: %s", error)
                await asyncio.sleep(_AGAIN)


def _beats(message: Message) -> list[tuple[str, int]]:
    return [(subjects.text(holder), message.time_ns) for holder in message.data.decode().split(" ")]
