"""The current entries of one store in memory.

Fed by the store's changes; it says its revision. `current` makes a read linearizable: it asks the
engine for the last revision (once for all readers that wait) and returns when the view has it. So
any number of views over one store agree, and a view that is behind refuses instead of answering.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter

from draft_services.blueprint.history import History
from draft_services.blueprint.names import Names
from draft_services.engine.errors import Unavailable
from draft_services.engine.store import Change, ChangeFeed, Changes, Entry, Key, Store

logger = logging.getLogger(__name__)

_LAG = 1.0  # seconds after which a view that is behind asks for its feed to be opened anew
_PATIENCE = 5.0  # seconds after which a read gives up
_SKEW = 5.0  # how far the engine's clock may be ahead of ours when we look for missed expiries
_NONE: Mapping[str, Entry] = {}
_revision = attrgetter("revision")


def size_of(key: Key, value: bytes) -> int:
    """Bytes that an entry takes: its value, and what it is found by."""
    return len(value) + len(key.name) + len(key.kind)


class View:
    """Entries by kind and name, in memory; `follow` keeps it current."""

    def __init__(
        self,
        store: Store,
        *,
        history: History | None = None,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self._store = store
        self.history = history or History()
        self.revision = 0
        self.known = 0
        """The last revision that the engine has named; what the view lacks of it is its lag."""
        self.count = 0
        """Entries that are held."""
        self.bytes = 0
        """What they take, types and names included."""
        self._on_change = on_change or (lambda _: None)
        self._entries: dict[str, dict[str, Entry]] = {}
        self._names: dict[str, Names] = {}  # made when asked for
        self._loaded = asyncio.Event()
        self._advanced: asyncio.Future[None] | None = None
        self._missed_expiries = False
        self._feed: ChangeFeed | None = None
        self._asking: asyncio.Task[int] | None = None
        self._asking_next: asyncio.Task[int] | None = None

    @property
    def lag(self) -> int:
        """How many revisions it lacks, as far as the engine has been asked."""
        return max(self.known - self.revision, 0)

    async def follow(self) -> None:
        """Take in every change, for ever."""
        async with self._store.changes() as feed:
            self._feed = feed
            async for told in feed:
                await self._take(told)

    async def loaded(self) -> None:
        """Return once the entries have been read for the first time."""
        await self._loaded.wait()

    async def current(self) -> None:
        """Return once the view shows everything that was written before this call.

        Raises `Unavailable` when the engine does not say, or the view does not catch up in time.
        """
        if self._asking_next is None:
            self._asking_next = asyncio.create_task(self._ask(self._asking))
        await self.reach(await asyncio.shield(self._asking_next))

    async def reach(self, revision: int) -> None:
        """Return once the view has taken in `revision`; raises `Unavailable`."""
        if self.revision >= revision and self._loaded.is_set():
            return
        try:
            async with asyncio.timeout(_LAG):
                await self._until(revision)
            return
        except TimeoutError:
            if self._feed is not None:
                self._feed.reopen()
        try:
            async with asyncio.timeout(_PATIENCE - _LAG):
                await self._until(revision)
        except TimeoutError:
            raise Unavailable(
                f"not caught up yet: at revision {self.revision} of {revision}; try again"
            ) from None

    async def changed(self) -> None:
        """Return at the next change."""
        if self._advanced is None:
            self._advanced = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._advanced)

    def get(self, key: Key) -> Entry | None:
        """The entry, if it exists."""
        return self._entries.get(key.kind, _NONE).get(key.name)

    def kinds(self) -> list[str]:
        """Every kind that has entries, sorted."""
        return sorted(kind for kind, entries in self._entries.items() if entries)

    def select(self, kind: str, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """The entries of a kind in the order of their names, those behind `after` only.

        Not to be held over an ``await``: it reads the view itself.
        """
        entries = self._entries.get(kind, _NONE)
        if not entries:
            return
        if kind not in self._names:
            self._names[kind] = Names(entries)
        for name in self._names[kind].starting(prefix, after=after):
            yield entries[name]

    def in_order(self, kind: str, prefix: str) -> list[Entry]:
        """The entries of a kind (empty: of all) in the order of their revisions."""
        kinds = [self._entries.get(kind, _NONE)] if kind else list(self._entries.values())
        found = [
            entry for entries in kinds for name, entry in entries.items() if name.startswith(prefix)
        ]
        if len(kinds) > 1:
            found.sort(key=_revision)
        return found

    async def _ask(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait({before})
        # Whoever comes from here on needs an answer to a question that is asked after it came.
        self._asking, self._asking_next = self._asking_next, None
        self.known = max(self.known, revision := await self._store.revision())
        return revision

    async def _until(self, revision: int) -> None:
        await self._loaded.wait()
        while self.revision < revision:
            await self.changed()

    async def _take(self, told: Changes) -> None:
        loaded = self._loaded.is_set()
        if told.opened and loaded:
            self._missed_expiries = True
        for change in told.changes:
            if loaded:
                if change.revision != self.revision + 1:
                    self.history.cut(change.revision - 1)  # a change in between is gone
                self.history.append(change)
            self._apply(change)
            self.revision = change.revision
        if told.revision > self.revision:
            self.revision = told.revision
            self.history.cut(told.revision)
        if told.caught_up and self._missed_expiries:
            await self._expire_missed()
        if told.caught_up and not loaded:
            self.history.cut(self.revision)
            self._loaded.set()
        if self._advanced is not None:
            self._advanced.set_result(None)
            self._advanced = None

    def _apply(self, change: Change) -> None:
        kind, name = change.key
        entries = self._entries.setdefault(kind, {})
        # Taken out first, so that entries lie in the order of their revisions.
        before = entries.pop(name, None)
        names = self._names.get(kind)
        if before is not None:
            self.count -= 1
            self.bytes -= size_of(change.key, before.value)
        if change.entry is not None:
            entries[name] = change.entry
            self.count += 1
            self.bytes += size_of(change.key, change.entry.value)
            if before is None and names is not None:
                names.add(name)
        elif before is not None and names is not None:
            names.remove(name)
        self._on_change(change)

    async def _expire_missed(self) -> None:
        """See that everybody hears of what ran out while the engine was away.

        The engine tells of an expiry for a second only. Nobody's clock decides here: whatever may
        have run out is asked for. That it is gone then comes as a change, to watchers as well.
        """
        horizon = time.time() + _SKEW
        suspects = [
            entry
            for entries in self._entries.values()
            for entry in entries.values()
            if entry.expires is not None and entry.expires < horizon
        ]
        for entry in suspects:
            try:
                if await self._store.get(entry.key) is None:
                    await self._store.mark_gone(entry.key)
            except Unavailable as error:
                logger.info("expiries are checked again after the next reconnect: %s", error)
                return
        self._missed_expiries = False
