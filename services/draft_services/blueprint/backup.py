"""All that the engine keeps on disk, out of it and back.

The registry is not put back: it tells what runs now, and a backup cannot know that. A restore
forgets it instead, so that every process registers anew, and tells its routes and descriptors
again, which the restored keys may not have.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass

from draft_services.blueprint.errors import InvalidArgument
from draft_services.blueprint.nonce import Nonce, check_nonce
from draft_services.engine import epochs, snapshots
from draft_services.engine.connection import Connection
from draft_services.engine.restoring import restoring
from draft_services.engine.snapshots import Stored

logger = logging.getLogger(__name__)

HOLD = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class End:
    """The end of a stream's content, and what that has to be."""

    sha256: bytes
    size: int


Part = Stored | bytes | End
"""A stream begins; the next bytes of its content; it is complete."""


class Backup:
    """Backups of one engine. `live` streams tell what runs; `current` returns when what this
    process reads is what the engine has, and raises when it cannot be; `hold` has this process
    refuse writes for so many seconds."""

    def __init__(
        self,
        connection: Connection,
        *,
        nonce: Nonce,
        live: Collection[str],
        current: Callable[[], Awaitable[None]],
        hold: Callable[[float], None],
    ) -> None:
        self._connection = connection
        self._nonce = nonce
        self._live = live
        self._current = current
        self._hold = hold

    @property
    def engine_version(self) -> str:
        """The engine's version."""
        return self._connection.server_version

    def admit(self, nonce: str) -> None:
        """Return if the caller knows the cluster's secret."""
        check_nonce(self._nonce, nonce)

    def tells_what_runs(self, stored: Stored) -> bool:
        """Whether the stream is kept for the record only."""
        return stored.name in self._live

    async def awaits_data(self) -> bool:
        """Whether nothing is served before a restore."""
        return not await epochs.arrived(self._connection)

    async def describe(self) -> list[Stored]:
        """What is there now, by name."""
        if not await self.awaits_data():
            await self._current()
        return await snapshots.on_disk(self._connection)

    async def create(self, *, hold: bool = False) -> AsyncIterator[Part]:
        """Every stream with its content, one after the other. With `hold` nothing is written
        through this process meanwhile, nor for a minute after: what moves the engine ends it."""
        holding = asyncio.create_task(self._keep_holding()) if hold else None
        try:
            async for part in self._create():
                yield part
            if hold:
                self._hold(HOLD)
        except BaseException:
            if hold:
                self._hold(0)
            raise
        finally:
            if holding:
                holding.cancel()

    async def _keep_holding(self) -> None:
        while True:
            self._hold(HOLD)
            await asyncio.sleep(HOLD / 4)

    async def _create(self) -> AsyncIterator[Part]:
        for each in await snapshots.on_disk(self._connection):
            digest, size = hashlib.sha256(), 0
            async with snapshots.snapshot(self._connection, each.name) as (stored, chunks):
                yield stored
                async for chunk in chunks:
                    digest.update(chunk)
                    size += len(chunk)
                    yield chunk
            yield End(digest.digest(), size)

    async def restore(self, parts: AsyncIterator[Part]) -> list[Stored]:
        """Replace the streams that are told; returns them as they are then."""
        restored: list[Stored] = []
        async with restoring(self._connection):
            async for part in parts:
                if not isinstance(part, Stored):
                    raise InvalidArgument("part: a stream has to come before its content")
                if self.tells_what_runs(part):
                    raise InvalidArgument(
                        f"stream: {part.name} tells what runs, not to be restored"
                    )
                logger.warning("stream %s is replaced by a backup", part.name)
                content = _whole(part.name, parts)
                restored.append(await snapshots.replace(self._connection, part, content))
            for name in self._live:
                await snapshots.forget(self._connection, name)
        await epochs.have_arrived(self._connection)
        return restored


async def _whole(name: str, parts: AsyncIterator[Part]) -> AsyncIterator[bytes]:
    """A stream's content; raises when it is not what it has to be.

    The last bytes come once that is known: the engine takes a stream as soon as it is complete.
    """
    digest, size, held = hashlib.sha256(), 0, b""
    async for part in parts:
        match part:
            case bytes():
                digest.update(part)
                size += len(part)
                if held:
                    yield held
                held = part
            case End(sha256, length):
                if (sha256, length) != (digest.digest(), size):
                    raise InvalidArgument(
                        f"stream: the content of {name} is not what was backed up"
                    )
                if held:
                    yield held
                return
            case _:
                break
    raise InvalidArgument(f"stream: the content of {name} has no end; restore again")
