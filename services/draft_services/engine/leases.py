"""Signs of life in a memory stream.

A beat writes nothing to disk and every reader of the stream hears it. The stream is empty after a
restart of the engine, and a reader may have missed beats while it was away; `opened` says so, and
whoever counts the silence must then start anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from draft_services.engine import streams, subjects
from draft_services.engine.connection import Connection
from draft_services.engine.errors import NotFound, Replaced
from draft_services.engine.feed import Feed, Start


@dataclass(frozen=True, slots=True)
class Beats:
    """Who showed a sign of life, and when (nanoseconds since 1970, by the engine's clock)."""

    beats: list[tuple[str, int]]
    opened: bool
    """First after opening, or after a loss of the engine: beats before it may be missing."""


class Leases:
    """One memory stream of beats; `open` it before use."""

    def __init__(self, connection: Connection, name: str, *, max_age: float) -> None:
        self._connection = connection
        self._name = name
        self._max_age = max_age

    async def open(self) -> None:
        """Create the stream where it is not there yet (after a restart of the engine as well)."""
        config = streams.lease_config(self._name, max_age=self._max_age)
        await streams.ensure(self._connection, config)

    async def beat(self, holder: str) -> None:
        """Show a sign of life. Not acknowledged: the next one makes up for a lost one."""
        await self._connection.publish(
            f"{self._name}.{subjects.token(holder)}", doing=f"renew the lease of {holder}"
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
                        beats = [
                            (subjects.text(message.subject.split(".", 1)[1]), message.time_ns)
                            for message in batch.messages
                        ]
                        yield Beats(beats, batch.opened)
            except (NotFound, Replaced):
                continue  # the engine has restarted and holds no leases: begin a new stream
