"""`Store` on a JetStream stream.

A removal is a message too, a tombstone: it takes the key's history with it (a roll-up) and vanishes
itself after `TOMBSTONE`. A write with a TTL rolls up as well, because when it runs out an older
message of the same key would otherwise come back to life.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from weakref import WeakValueDictionary

from draft_services.engine import streams, subjects
from draft_services.engine.batches import Outgoing
from draft_services.engine.commit import GroupCommit
from draft_services.engine.connection import Connection
from draft_services.engine.errors import (
    NO_STREAM,
    ON_ITS_WAY,
    Compacted,
    Conflict,
    NotFound,
    Replaced,
    Unavailable,
    Uncertain,
)
from draft_services.engine.feed import Batch, Feed, Message, Start
from draft_services.engine.nodes import Nodes
from draft_services.engine.store import Attempt, Change, Changes, Entry, Key, Version

TOMBSTONE = 3600  # seconds that a removal can be replayed
_PAUSES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between attempts
_ATTEMPT = "Nats-Msg-Id"  # by which the engine knows a message that it has stored already
_ROLL_UP = {"Nats-Rollup": "sub"}
_REMOVAL = {"KV-Operation": "DEL", "Nats-TTL": f"{TOMBSTONE}s", **_ROLL_UP}


class JetStreamStore:
    """One bucket; `open` it before use. `nodes` tell who leads it."""

    def __init__(self, connection: Connection, bucket: str, nodes: Nodes | None = None) -> None:
        self._connection = connection
        self._nodes = nodes or Nodes(connection)
        self._bucket = bucket
        self._stream = streams.bucket_stream(bucket)
        self._prefix = f"$KV.{bucket}."
        self.commit = GroupCommit(connection)
        self._generation: str | None = None
        self._attempts = WeakValueDictionary[str, Attempt]()  # as long as somebody tries
        self._told = 0  # bytes that the stream had when it was last asked ...
        self._written = 0  # ... and what was written then

    async def open(self) -> None:
        """Create the stream where it is not there yet."""
        config = streams.bucket_config(self._bucket)
        self._generation = await streams.ensure(self._connection, config)

    async def get(self, key: Key) -> Entry | None:
        """See `Store.get`: asks the stream's leader, for a direct read may be stale."""
        change = await self._last(key)
        return change.entry if change else None

    async def put(
        self,
        key: Key,
        value: bytes,
        *,
        expected: int | None = None,
        ttl: float | None = None,
        attempt: Attempt | None = None,
    ) -> int:
        """See `Store.put`. A TTL is rounded up to whole seconds, as the server counts them."""
        headers = {}
        if ttl:
            headers = {"Nats-TTL": f"{math.ceil(ttl)}s", **_ROLL_UP}
        return await self._write(key, value, headers, expected, attempt or Attempt())

    async def delete(
        self, key: Key, *, expected: int | None = None, attempt: Attempt | None = None
    ) -> int:
        """See `Store.delete`."""
        last = await self._last(key)
        if last is None or last.entry is None:
            if expected:
                raise Conflict(f"delete {key.name!r}: it does not exist", current=0)
            return 0
        return await self._write(key, b"", _REMOVAL, expected, attempt or Attempt())

    async def mark_gone(self, key: Key) -> None:
        """See `Store.mark_gone`. The engine's own mark of an expiry lives for a second only."""
        headers = {**_REMOVAL, **_if_last(0)}
        message = Outgoing(self._subject(key), b"", headers)
        with contextlib.suppress(Conflict):
            await self.commit.write(message, doing=f"mark {key.name!r} as gone")

    async def entries(self) -> list[Entry]:
        """See `Store.entries`."""
        found: dict[Key, Entry] = {}
        async with self.changes() as feed:
            async for told in feed:
                for change in told.changes:
                    found.pop(change.key, None)
                    if change.entry:
                        found[change.key] = change.entry
                if told.caught_up:
                    break
        return list(found.values())

    @property
    def generation(self) -> str:
        """See `Store.generation`."""
        return self._generation or ""

    @property
    def stored(self) -> int:
        """See `Store.stored`. Writes of other nodes count once the stream was asked again."""
        return self._told + self.commit.bytes - self._written

    async def revision(self) -> int:
        """See `Store.revision`. `Replaced` when the stream is not the one that was opened: what was
        read from that one is no longer true, whatever the revision."""
        written = self.commit.bytes
        info = (await self._nodes.information(self._stream)).information
        self._told, self._written = int(info["state"]["bytes"]), written
        if self._generation not in (None, streams.generation(info)):
            raise Replaced(f"stream {self._stream} was replaced; try again in a moment")
        return int(info["state"]["last_seq"])

    @asynccontextmanager
    async def changes(self) -> AsyncIterator[_ChangeFeed]:
        """See `Store.changes`."""
        async with self._feed(Start.latest()) as feed:
            yield _ChangeFeed(self, feed)

    async def replay(self, after: int, until: int) -> list[Change]:
        """See `Store.replay`: a hole in the stream's numbering is a change that is gone."""
        told: list[Change] = []
        if after >= until:
            return told
        reached = after
        async with self._feed(Start.after(after)) as feed:
            async for batch in feed:
                for message in batch.messages:
                    if message.sequence != reached + 1:
                        break
                    reached = message.sequence
                    if reached <= until:
                        told.append(self._change(message))
                if reached >= until:
                    return told
                if batch.caught_up or reached < batch.revision:
                    break
        raise Compacted(f"the change after revision {reached} is no longer kept")

    async def history(self, key: Key) -> list[Version]:
        """See `Store.history`."""
        found: list[Version] = []
        subject = self._subject(key)
        async with self._feed(Start.all(), subject) as feed:
            async for batch in feed:
                found += [Version(self._change(m), m.time_ns / 1e9) for m in batch.messages]
                if batch.caught_up:
                    break
        return found

    async def _write(
        self,
        key: Key,
        value: bytes,
        headers: Mapping[str, str],
        expected: int | None,
        attempt: Attempt,
    ) -> int:
        condition = expected
        self._attempts[attempt.id] = attempt
        for pause in _PAUSES:
            sent = {**headers, _ATTEMPT: attempt.id}
            if condition is not None:
                sent |= _if_last(condition)
            try:
                message = Outgoing(self._subject(key), value, sent)
                return await self.commit.write(message, doing=f"write {key.name!r}")
            except Conflict as conflict:
                # What the engine counts includes tombstones; what a caller counts does not.
                last = await self._last(key)
                if attempt.revision:
                    return attempt.revision
                current = last.revision if last and last.entry else 0
                if current != expected:
                    raise Conflict(
                        f"{key.name!r} is at revision {current}, not {expected}", current=current
                    ) from conflict
                condition = last.revision if last else 0
            except Uncertain as error:
                if error.code != ON_ITS_WAY:
                    raise
            # A cluster refuses as well for a write that it has yet to store, or to give up.
            await asyncio.sleep(pause)
        raise Unavailable(
            f"another write of {key.name!r} is on its way and does not end; try again"
        )

    async def _last(self, key: Key) -> Change | None:
        try:
            answer = await self._connection.api(
                f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._subject(key)}
            )
        except NotFound as error:
            if error.code == NO_STREAM:
                raise
            return None
        return self._change(_stored(answer["message"]))

    def _feed(self, start: Start, subject: str = ">") -> Feed:
        return Feed(
            self._connection,
            self._stream,
            start=start,
            subject=subject,
            nodes=self._nodes,
            generation=self._generation,
        )

    def _subject(self, key: Key) -> str:
        return self._prefix + subjects.key_subject(*key)

    def _change(self, message: Message) -> Change:
        key = Key(*subjects.split_key_subject(message.subject[len(self._prefix) :]))
        headers = message.headers
        if attempt := self._attempts.get(headers.get(_ATTEMPT, "")):
            attempt.revision = message.sequence
        if "KV-Operation" in headers or "Nats-Marker-Reason" in headers:
            return Change(key, message.sequence, None)
        ttl = headers.get("Nats-TTL")
        expires = message.time_ns / 1e9 + float(ttl.removesuffix("s")) if ttl else None
        return Change(key, message.sequence, Entry(key, message.data, message.sequence, expires))


class _ChangeFeed:
    """The feed's messages as changes."""

    def __init__(self, store: JetStreamStore, feed: Feed) -> None:
        self._store = store
        self._feed = feed

    async def __aiter__(self) -> AsyncIterator[Changes]:
        async for batch in self._feed:
            yield self._told(batch)

    def reopen(self) -> None:
        self._feed.reopen()

    def _told(self, batch: Batch) -> Changes:
        changes = [self._store._change(message) for message in batch.messages]
        return Changes(changes, batch.revision, batch.caught_up, batch.opened)


def _if_last(sequence: int) -> dict[str, str]:
    """The condition that the last message of the key is this one; 0: that there is none."""
    return {"Nats-Expected-Last-Subject-Sequence": str(sequence)}


def _stored(raw: Mapping[str, Any]) -> Message:
    """A message as the API returns it: base64, headers as they lie in the stream."""
    lines = base64.b64decode(raw.get("hdrs", "")).decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    data = base64.b64decode(raw.get("data", ""))
    return Message(int(raw["seq"]), raw["subject"], data, headers, _nanoseconds(raw["time"]))


def _nanoseconds(stamp: str) -> int:
    """RFC 3339 with nanoseconds to a number since 1970; datetime knows microseconds at most."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))
