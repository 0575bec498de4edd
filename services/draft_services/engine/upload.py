"""The way of a snapshot into the engine.

An engine of one node syncs the disk for every message that it takes out of a snapshot, and does not
read on meanwhile: neither what else comes through the same connection. And it gives a restore up
when no piece came for five seconds, whatever it is busy with; a block of small messages takes
longer. So pieces have connections of their own, and when one is not answered soon, the next comes
through another connection. The engine takes them in the order in which they came.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from draft_services.engine.connection import Connection, parsed

_PIECE = 64 * 1024
_LITTLE = 1024  # while the engine is busy: to show that we are there
_RESERVE = 64 * _LITTLE  # kept for the end, so that there is something to show for the last blocks
_SOON = 1.5
_CONNECTIONS = 64  # a minute and a half for a block
_WHOLE = 300.0
_PING = 60  # while the engine is busy with a block, it does not answer


class Upload:
    """Sends pieces to one subject in order; see `uploading`."""

    def __init__(self, main: Connection, subject: str, doing: str) -> None:
        self._main = main
        self._subject = subject
        self._doing = doing
        self._held = bytearray()
        self._idle: list[Connection] = []
        self._pending: dict[asyncio.Task[Msg], Connection] = {}

    async def send(self, content: bytes) -> None:
        """Send more; returns when it can take even more, not when all is answered."""
        self._held += content
        while (ready := len(self._held) - _RESERVE) > 0:
            await self._send(min(ready, _LITTLE if self._pending else _PIECE))

    async def finish(self) -> Msg:
        """Say that this was all; returns the answer to that."""
        while self._held:
            await self._send(_LITTLE)
        while self._pending:
            await self._collect(None)
        connection = await self._connection()
        self._idle.append(connection)
        return await connection.request(self._subject, b"", doing=self._doing, within=_WHOLE)

    async def close(self) -> None:
        """Never fails."""
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in (*self._idle, *self._pending.values())))

    async def _send(self, size: int) -> None:
        piece = bytes(self._held[:size])
        del self._held[:size]
        while len(self._pending) >= _CONNECTIONS:
            await self._collect(None)
        connection = await self._connection()
        asked = connection.request(self._subject, piece, doing=self._doing, within=_WHOLE)
        self._pending[asyncio.create_task(asked)] = connection
        await self._collect(_SOON)

    async def _connection(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        return await self._main.another(name=self._doing, ping=_PING)

    async def _collect(self, within: float | None) -> None:
        """Wait for the answers, to all pieces where there is a limit, else to any."""
        when = asyncio.FIRST_COMPLETED if within is None else asyncio.ALL_COMPLETED
        done, _ = await asyncio.wait(self._pending, timeout=within, return_when=when)
        for task in done:
            self._idle.append(self._pending.pop(task))
            answer = task.result()
            if answer.data:  # else it was taken
                parsed(answer.data, self._doing)


@asynccontextmanager
async def uploading(main: Connection, subject: str, *, doing: str) -> AsyncIterator[Upload]:
    """An upload to the subject that JetStream named for it, beside the `main` connection."""
    upload = Upload(main, subject, doing)
    try:
        yield upload
    finally:
        await upload.close()
