"""What Blueprint needs of an engine, so that another stays possible.

Keys are pairs (kind, name); every change has a revision that only grows over the whole store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from secrets import token_urlsafe
from typing import NamedTuple, Protocol


class Key(NamedTuple):
    """What an entry is found by. The same name may exist once for every kind."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A key's value as of its last write."""

    key: Key
    value: bytes
    revision: int
    expires: float | None = None
    """When it runs out if nobody writes it, in seconds since 1970 by the engine's clock."""


@dataclass(frozen=True, slots=True)
class Change:
    """A write (`entry`) or a removal (`entry` is None) of a key."""

    key: Key
    revision: int
    entry: Entry | None


@dataclass(eq=False, slots=True, weakref_slot=True)
class Attempt:
    """One write, however often it is sent: it is stored once. A refusal may come from a node that
    leads no more, while the one that leads stores it."""

    id: str = field(default_factory=lambda: token_urlsafe(12))
    revision: int = 0
    """Where it was seen among the changes; 0: it was not as yet."""


@dataclass(frozen=True, slots=True)
class Version:
    """A change that a key went through, and when: seconds since 1970 by the engine's clock."""

    change: Change
    time: float


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in order, as they come from `Store.changes`."""

    changes: list[Change] = field(default_factory=list)
    revision: int = 0
    """Everything up to here has been told, as far as it is kept."""
    caught_up: bool = False
    """Nothing was waiting behind the last change."""
    opened: bool = False
    """First after opening, or after a loss of the engine."""


class ChangeFeed(Protocol):
    """An open feed of changes."""

    def __aiter__(self) -> AsyncIterator[Changes]:
        """The changes; waits out losses of the engine."""
        ...

    def reopen(self) -> None:
        """Ask the engine anew, behind what has been told."""
        ...


class Store(Protocol):
    """A durable, ordered key/value store. A write that returns is on disk.

    Raises `errors.EngineError`: `Conflict` for a condition that does not hold, `Unavailable` (and
    of it `Uncertain`, when a write may have happened), `Compacted`, `Full`.
    """

    async def get(self, key: Key) -> Entry | None:
        """The entry as of now: a read that started after a write returned sees that write."""
        ...

    async def put(
        self,
        key: Key,
        value: bytes,
        *,
        expected: int | None = None,
        ttl: float | None = None,
        attempt: Attempt | None = None,
    ) -> int:
        """Write, if the entry is at revision `expected` (0: absent); returns the new revision.

        With `ttl` (seconds) it is removed when it has not been written for so long. Whoever tries
        the same write again gives the same `attempt`.
        """
        ...

    async def delete(
        self, key: Key, *, expected: int | None = None, attempt: Attempt | None = None
    ) -> int:
        """Remove, under the same condition; returns the revision, 0 when it was absent."""
        ...

    async def mark_gone(self, key: Key) -> None:
        """Make a change of it that a key ran out, which is not there; where somebody told already,
        or wrote it since, nothing."""
        ...

    async def entries(self) -> list[Entry]:
        """Every entry as of now, oldest write first."""
        ...

    @property
    def generation(self) -> str:
        """Which store the revisions are of; restoring a backup begins another one."""
        ...

    @property
    def stored(self) -> int:
        """Bytes that it takes, history included: as it last told, and what was written since."""
        ...

    async def revision(self) -> int:
        """The revision of the last change as of now."""
        ...

    def changes(self) -> AbstractAsyncContextManager[ChangeFeed]:
        """The current entries as changes, then every change."""
        ...

    async def replay(self, after: int, until: int) -> list[Change]:
        """Every change in (after, until]; `Compacted` when one of them is no longer kept."""
        ...

    async def history(self, key: Key) -> list[Version]:
        """The changes of one key that are kept, oldest first."""
        ...
