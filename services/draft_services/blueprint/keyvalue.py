"""Keys and values: limits, conditions, pages, watching.

An entry is identified by (type URL, key). Reads are linearizable (see `view`).
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from draft_services.blueprint.errors import (
    Exhausted,
    InvalidArgument,
    NotFound,
    OutOfRange,
    TooLarge,
)
from draft_services.blueprint.limits import MIB, Held, Limits, Write, refusal, too_many_watches
from draft_services.blueprint.view import View, size_of
from draft_services.engine.errors import Compacted, Conflict, Unavailable
from draft_services.engine.store import Attempt, Change, Entry, Key, Store, Version

MAX_KEY = 1024
MAX_TYPE_URL = 256  # with the longest key it still fits a subject of the engine
MAX_PAGE_BYTES = 4 * 1024 * 1024  # half a message: a page always fits one
_CHUNK = 100  # changes in one message to a watcher
_CHUNK_BYTES = 64 * 1024
_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between attempts of a write
_SILENT = 1000  # changes of others after which a watcher hears where it stands, to resume there
MAX_TTL = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list. `token` asks for the next one; empty on the last."""

    entries: list[Entry]
    token: str
    revision: int


@dataclass(frozen=True, slots=True)
class Past:
    """What an entry has been, newest first. `complete`: these are all that are kept."""

    versions: list[Version]
    complete: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """Changes for a watcher. `synced`: the current entries have been sent, up to `revision`."""

    changes: list[Change]
    revision: int
    synced: bool = False


def identity(type_url: str, key: str) -> Key:
    """The identity of an entry; raises `InvalidArgument` naming the field."""
    plain = key.strip()
    if not plain:
        raise InvalidArgument("key: must not be empty")
    if len(plain.encode()) > MAX_KEY:
        raise InvalidArgument(f"key: is {len(plain.encode())} bytes, the limit is {MAX_KEY}")
    return Key(checked_type(type_url), plain)


def checked_type(type_url: str) -> str:
    """A usable type URL; raises `InvalidArgument`."""
    if not type_url:
        raise InvalidArgument("value.type_url: must name the type, as type.googleapis.com/pkg.Name")
    if len(type_url.encode()) > MAX_TYPE_URL:
        raise InvalidArgument(f"value.type_url: is longer than {MAX_TYPE_URL} bytes")
    return type_url


class KeyValue:
    """The public key/value space."""

    def __init__(self, store: Store, view: View, limits: Limits) -> None:
        self._store = store
        self._view = view
        self.limits = limits
        self._coming_keys = self._coming_bytes = 0  # by writes that are on their way
        self.watchers = 0
        """Who watches now."""

    async def set(
        self, key: Key, value: bytes, *, expected: int | None = None, ttl: float | None = None
    ) -> int:
        """Write; returns the revision. `Conflict` when the condition does not hold."""
        if len(value) > self.limits.value:
            raise TooLarge(
                f"value: is {len(value)} bytes, the limit is {self.limits.value} "
                f"({self.limits.value / MIB:.3g} MiB); "
                "keep large data elsewhere and store where it is"
            )
        if ttl is not None and not 0 <= ttl <= MAX_TTL:
            raise InvalidArgument(f"ttl: must be between 0 and {MAX_TTL} seconds, not {ttl:g}")
        if self._refusal(key, value, ttl):
            await self._view.current()  # what was removed meanwhile counts no more
            if words := self._refusal(key, value, ttl):
                raise Exhausted(words)
        write = self._write(key, value, ttl)
        self._coming_keys += write.keys
        self._coming_bytes += write.bytes
        try:
            return await self._sure(
                key,
                expected,
                functools.partial(self._store.put, key, value, expected=expected, ttl=ttl),
            )
        finally:
            self._coming_keys -= write.keys
            self._coming_bytes -= write.bytes

    def _write(self, key: Key, value: bytes, ttl: float | None) -> Write:
        before = self._view.get(key)
        size = size_of(key, value)
        return Write(size, size_of(key, before.value) if before else None, replaces=bool(ttl))

    def _refusal(self, key: Key, value: bytes, ttl: float | None) -> str:
        return refusal(self.limits, self.held, self._write(key, value, ttl))

    @property
    def held(self) -> Held:
        """What there is, with what is on its way from here."""
        return Held(
            self._view.count + self._coming_keys,
            self._view.bytes + self._coming_bytes,
            self._store.stored,
        )

    async def get(self, key: Key) -> Entry:
        """Read; `NotFound` when there is none."""
        await self._view.current()
        entry = self._view.get(key)
        if entry is None:
            raise NotFound(f"no entry {key.name!r} of type {key.kind}")
        return entry

    async def delete(self, key: Key, *, expected: int | None = None) -> int:
        """Remove; returns the revision, 0 when there was none."""
        write = functools.partial(self._store.delete, key, expected=expected)
        return await self._sure(key, expected, write)

    async def list(self, kind: str, prefix: str, page_size: int, page_token: str) -> Page:
        """The entries of a type by the order of their keys. No page size: everything."""
        shown, after = 0, ""
        if page_token:
            shown, after = _parse_token(page_token)
        await self._view.current()
        if shown > self._view.revision:
            raise InvalidArgument(
                f"page_token: shows revision {shown}, which has not happened (a backup was "
                "restored since); list anew"
            )
        entries: list[Entry] = []
        size = 0
        for entry in self._view.select(kind, prefix, after=after):
            full = len(entries) >= page_size or size + len(entry.value) > MAX_PAGE_BYTES
            if page_size and entries and full:
                token = _make_token(self._view.revision, entries[-1].key.name)
                return Page(entries, token, self._view.revision)
            entries.append(entry)
            size += len(entry.value)
        return Page(entries, "", self._view.revision)

    async def history(self, key: Key, limit: int) -> Past:
        """The changes of an entry that are kept: no more than `limit` (0: all) of the newest, and
        no more than a message holds."""
        kept = await self._store.history(key)
        kept.reverse()
        count = size = 0
        for version in kept[: limit or None]:
            size += len(version.change.entry.value) if version.change.entry else 0
            if count and size > MAX_PAGE_BYTES:
                break
            count += 1
        return Past(kept[:count], count == len(kept))

    @property
    def generation(self) -> str:
        """Which store the revisions are of."""
        return self._store.generation

    async def watch(
        self, kind: str, prefix: str, after: int, generation: str = ""
    ) -> AsyncIterator[Chunk]:
        """Changes of a type (empty: of every type) after a revision, for ever.

        0: the current entries first, then one chunk that is `synced`. `OutOfRange` when the changes
        after that revision are not all known, or it is of another `generation`.
        """
        await self._view.current()
        if after and generation and generation != self.generation:
            raise OutOfRange(
                f"from_revision: {after} is of another generation (a backup was restored since); "
                "watch again from 0"
            )
        if self.watchers >= self.limits.watchers:
            raise Exhausted(too_many_watches(self.watchers, self.limits.watchers))
        reached = told = after
        self.watchers += 1
        try:
            if after:
                async for chunk in self._replay(kind, prefix, after):
                    reached = chunk.revision
                    yield chunk
            else:
                # Copied at once, so that it is one moment's state, while sending takes its time.
                entries = self._view.in_order(kind, prefix)  # a watcher's revisions only grow
                reached = self._view.revision
                for at in range(0, len(entries), _CHUNK):
                    some = entries[at : at + _CHUNK]
                    for part in _chunks([Change(each.key, each.revision, each) for each in some]):
                        yield Chunk(part, 0)
                yield Chunk([], reached, synced=True)
                told = reached
                del entries
            while True:
                changes = self._view.history.after(reached)
                if not changes:
                    await self._view.changed()
                    continue
                reached = changes[-1].revision
                wanted = [change for change in changes if _matches(change, kind, prefix)]
                for part in _chunks(wanted):
                    told = part[-1].revision
                    yield Chunk(part, told)
                if reached - told >= _SILENT:
                    told = reached
                    yield Chunk([], told)
        except Compacted as error:
            raise OutOfRange(
                f"the changes after revision {reached} are no longer all kept ({error}); "
                "watch again from 0"
            ) from error
        finally:
            self.watchers -= 1

    async def _sure(
        self, key: Key, expected: int | None, write: Callable[..., Awaitable[int]]
    ) -> int:
        """Write. That a condition does not hold, or that there is nothing to remove, may come from
        a node that leads the engine no more: it is believed when the view says so, too, unless that
        is so because the write itself was stored, by the node that leads."""
        attempt = Attempt()
        for pause in _PAUSES:
            refusal = None
            try:
                if revision := await write(attempt=attempt):
                    return revision
            except Conflict as conflict:
                refusal = conflict
            await self._view.current()
            if attempt.revision:
                return attempt.revision
            entry = self._view.get(key)
            current = entry.revision if entry else 0
            if refusal is None and not current:
                return 0
            if refusal is not None and current != expected:
                raise Conflict(
                    f"{key.name!r} is at revision {current}, not {expected}", current=current
                ) from refusal
            await asyncio.sleep(pause)
        raise Unavailable(f"the engine's nodes do not agree on {key.name!r} as yet; try again")

    async def _replay(self, kind: str, prefix: str, after: int) -> AsyncIterator[Chunk]:
        """What happened between `after` and where the history in memory begins."""
        if after > self._view.revision:
            raise OutOfRange(
                f"from_revision: {after} has not happened, the last one is "
                f"{self._view.revision}; watch again from 0"
            )
        floor = self._view.history.floor
        if after >= floor:
            return
        changes = await self._store.replay(after, floor)
        for part in _chunks([change for change in changes if _matches(change, kind, prefix)]):
            yield Chunk(part, part[-1].revision)
        yield Chunk([], floor)


def _matches(change: Change, kind: str, prefix: str) -> bool:
    return (not kind or change.key.kind == kind) and change.key.name.startswith(prefix)


def _chunks(changes: list[Change]) -> list[list[Change]]:
    chunks: list[list[Change]] = []
    size = _CHUNK_BYTES
    for change in changes:
        if size >= _CHUNK_BYTES or len(chunks[-1]) >= _CHUNK:
            chunks.append([])
            size = 0
        chunks[-1].append(change)
        size += len(change.entry.value) if change.entry else 0
    return chunks


def _make_token(revision: int, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, name]).encode()).decode()


def _parse_token(token: str) -> tuple[int, str]:
    try:
        content = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, RecursionError):
        content = None
    match content:
        case [int(revision), str(name)]:
            return revision, name
    raise InvalidArgument("page_token: is not one that List gave out")
