"""A store of which a view is told what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from draft_services.engine.store import Change, Changes, Entry, Key


def put(
    revision: int, name: str, *, kind: str = "t", expires: float | None = None, value: bytes = b""
) -> Change:
    key = Key(kind, name)
    return Change(key, revision, Entry(key, value, revision, expires))


def gone(revision: int, name: str) -> Change:
    return Change(Key("t", name), revision, None)


class ToldStore:
    """A store whose feed says what the test tells it to."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[Changes] = asyncio.Queue()
        self.last = 0
        self.asked = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self.kept: dict[Key, Entry] = {}
        self.reopened = 0

    def tell(
        self, *changes: Change, revision: int = 0, caught_up: bool = True, opened: bool = False
    ) -> None:
        reached = revision or (changes[-1].revision if changes else 0)
        self.last = max(self.last, reached)
        self.told.put_nowait(Changes(list(changes), reached, caught_up, opened))

    async def revision(self) -> int:
        self.asked += 1
        await self.answer.wait()
        return self.last

    async def get(self, key: Key) -> Entry | None:
        return self.kept.get(key)

    async def mark_gone(self, key: Key) -> None:
        self.tell(gone(self.last + 1, key.name))

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[ToldStore]:
        yield self

    async def __aiter__(self) -> AsyncIterator[Changes]:
        while True:
            yield await self.told.get()

    def reopen(self) -> None:
        self.reopened += 1
