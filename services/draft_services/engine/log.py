"""An append-only log of events on a JetStream stream.

Appending is acknowledged once it is on disk, and a record whose id was seen within the window is
acknowledged like the first and stored once. Several records go as one atomic batch, because the
server syncs a batch once and every single message by itself: 32k/s against 6k/s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from draft_services.engine import batches, streams, subjects
from draft_services.engine.batches import Outgoing, store_all
from draft_services.engine.connection import Connection
from draft_services.engine.errors import DUPLICATE_IN_BATCH, EngineError, NotFound
from draft_services.engine.feed import Feed, Start

DEDUP_WINDOW = 120.0


@dataclass(frozen=True, slots=True)
class Record:
    """One event to append. `path` are the texts that readers may filter on, in order."""

    path: Sequence[str]
    data: bytes
    id: str = ""
    """What duplicates are known by; empty: never a duplicate."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record lies; `duplicate` when it had been there before."""

    sequence: int
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class LogState:
    """The log's extent. Empty: `last` is one less than `first`, or both are 0."""

    first: int
    last: int
    messages: int
    bytes: int


class Log:
    """One log; `open` it before use. `name` is the stream's name and its subjects' first token."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._generation: str | None = None

    async def open(
        self,
        *,
        max_bytes: int = 0,
        max_age: float = 0.0,
        dedup_window: float = DEDUP_WINDOW,
        full: str = "refuse",
    ) -> None:
        """Create the stream, or adapt its limits; `full`: ``refuse`` new or ``forget`` old ones."""
        self._generation = await streams.ensure(
            self._connection,
            streams.log_config(
                self.name,
                max_bytes=max_bytes,
                max_age=max_age,
                dedup_window=dedup_window,
                discard="new" if full == "refuse" else "old",
            ),
        )

    def subject(self, path: Sequence[str], *, more: bool = False) -> str:
        """The subject of a path, or (`more`) the filter for everything below it."""
        texts = subjects.tokens(path)
        return ".".join(part for part in (self.name, texts, ">" if more else "") if part)

    def path(self, subject: str) -> list[str]:
        """The path of a message's subject."""
        return [subjects.text(token) for token in subject.split(".")[1:]]

    async def append(self, records: Sequence[Record]) -> list[Appended]:
        """Append in order; returns once all are on disk.

        On an error some of them may have been stored: append them again under the same ids.
        """
        done: list[Appended] = []
        for at in range(0, len(records), batches.MOST):
            done += await self._append_batch(records[at : at + batches.MOST])
        return done

    def feed(self, start: Start, *, subject: str = ">") -> Feed:
        """The records from `start` on, then every new one; `subject` filters (see `subject`)."""
        return Feed(
            self._connection,
            self.name,
            start=start,
            subject=subject,
            generation=self._generation,
        )

    async def state(self) -> LogState:
        """The log's extent as of now."""
        state = (await self._connection.api(f"STREAM.INFO.{self.name}"))["state"]
        return LogState(state["first_seq"], state["last_seq"], state["messages"], state["bytes"])

    async def unread(self, first: int, last: int) -> Literal["gone", "lost", "there"]:
        """What became of these sequences, which a reading did not bring: they were removed or have
        run out; or the first that was not cannot be read from the leader's copy; or it can."""
        info = await self._connection.api(f"STREAM.INFO.{self.name}", {"deleted_details": True})
        state = info["state"]
        gone = set(state.get("deleted") or ())
        kept = range(max(first, state["first_seq"]), min(last, state["last_seq"]) + 1)
        missing = next((sequence for sequence in kept if sequence not in gone), 0)
        if not missing:
            return "gone"
        try:
            await self._connection.api(f"STREAM.MSG.GET.{self.name}", {"seq": missing})
        except NotFound:
            return "lost"
        return "there"

    async def _append_batch(self, records: Sequence[Record]) -> list[Appended]:
        ids = [record.id for record in records if record.id]
        if len(records) > 1 and len(ids) == len(set(ids)):
            try:
                return await self._atomic(records)
            except EngineError as error:
                if error.code != DUPLICATE_IN_BATCH:
                    raise
        # One is a duplicate, and the server refuses the batch as a whole. Sent together, they are
        # stored in this order all the same: one connection is read in order.
        return list(await asyncio.gather(*map(self._single, records)))

    async def _single(self, record: Record) -> Appended:
        ack = await self._connection.write(
            self.subject(record.path), record.data, doing=self._doing(1), headers=_headers(record)
        )
        return Appended(int(ack["seq"]), bool(ack.get("duplicate", False)))

    async def _atomic(self, records: Sequence[Record]) -> list[Appended]:
        messages = [
            Outgoing(self.subject(record.path), record.data, _headers(record)) for record in records
        ]
        first = await store_all(self._connection, messages, doing=self._doing(len(records)))
        return [Appended(first + offset) for offset in range(len(records))]

    def _doing(self, count: int) -> str:
        return f"append {count} record{'s' if count > 1 else ''} to {self.name}"


def _headers(record: Record) -> dict[str, str]:
    headers = dict(record.headers)
    if record.id:
        headers["Nats-Msg-Id"] = subjects.token(record.id)
    return headers
