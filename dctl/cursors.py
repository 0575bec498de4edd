"""How far a stream was read: what to ask for next, and what of an answer is new. Pure.

A stream that breaks is opened anew from its cursor, so that nothing is missed and nothing is shown
twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from draft_api.core.message_broker.actors.v1.consumer_pb2 import (
        ConsumeResponse,
        StartPosition,
    )
    from draft_api.core.registry.key_value.v1.service_pb2 import WatchResponse
    from draft_api.core.registry.service_discovery.v1.models_pb2 import Process
    from draft_api.core.registry.service_discovery.v1.service_pb2 import (
        WatchResponse as ProcessResponse,
    )
    from google.protobuf.any_pb2 import Any as AnyMessage

NEXT_SEQUENCE = "draft-next-sequence"
"""Metadata with which Catalyst accepts a consumer: the sequence of the first event it may get."""

Start = Literal["new", "all"] | int | datetime
Moved = Literal["there", "new", "changed", "gone", "synced"]


class Change(NamedTuple):
    """One change of one entry; `synced` marks the end of the current entries and has no key."""

    kind: Literal["put", "delete", "synced"]
    key: str
    value: AnyMessage
    revision: int


class KeyCursor:
    """The place in the changes of the key/value store."""

    def __init__(self, from_revision: int = 0) -> None:
        self.revision = from_revision
        """Resume from here; 0 until the current entries have all come."""
        self.generation = ""
        """Which store the revisions are of, as far as it was told."""
        self._known: dict[tuple[str, str], Change] = {}
        self._current: set[tuple[str, str]] = set()
        self._read = self._synced = False

    def opened(self, _: dict[str, str]) -> None:
        """A stream from `revision` begins."""
        self._current.clear()

    def too_old(self) -> bool:
        """The changes since `revision` are not kept: compare with the current entries instead.

        False when nothing was read yet: then `revision` is what somebody asked for by number.
        """
        if self._read:
            self.revision = 0
        return self._read

    def read(self, response: WatchResponse) -> Iterator[Change]:
        """The changes that were not seen before."""
        self._read = True
        if self.generation and response.generation != self.generation:
            # A backup was restored: no revision tells anymore what is known.
            self._known = {key: each._replace(revision=0) for key, each in self._known.items()}
        self.generation = response.generation
        for event in response.events:
            if event.kind == event.KIND_SYNCED:
                yield from self._sync(event.revision or response.revision, event.value)
            elif event.kind == event.KIND_DELETE:
                yield from self._delete(Change("delete", event.key, event.value, event.revision))
            elif event.kind == event.KIND_PUT:
                yield from self._put(Change("put", event.key, event.value, event.revision))
        if self.revision:
            self.revision = max(self.revision, response.revision)

    def _put(self, change: Change) -> Iterator[Change]:
        identity = (change.value.type_url, change.key)
        self._current.add(identity)
        known = self._known.get(identity)
        if known is None or known.revision < change.revision:
            self._known[identity] = change._replace(value=_type_only(change.value))
            yield change
        self._advance(change.revision)

    def _delete(self, change: Change) -> Iterator[Change]:
        self._known.pop((change.value.type_url, change.key), None)
        self._current.discard((change.value.type_url, change.key))
        yield change
        self._advance(change.revision)

    def _sync(self, revision: int, no_value: AnyMessage) -> Iterator[Change]:
        for identity in sorted(self._known.keys() - self._current):  # gone while nobody looked
            gone = self._known.pop(identity)
            yield gone._replace(kind="delete", revision=revision)
        self.revision = revision
        if not self._synced:
            self._synced = True
            yield Change("synced", "", no_value, revision)

    def _advance(self, revision: int) -> None:
        # Current entries may come in any order, so they do not say how far everything was read.
        if self.revision:
            self.revision = max(self.revision, revision)


class ProcessCursor:
    """The processes that were told of: what of a watch, opened anew or not, is a change."""

    def __init__(self) -> None:
        self._known: dict[str, Process] = {}
        self._current: set[str] = set()
        self._synced = False

    def opened(self, _: dict[str, str]) -> None:
        """A stream begins, with every process."""
        self._current.clear()

    def read(self, response: ProcessResponse) -> Iterator[tuple[Moved, Process]]:
        """What changed: a sign of life alone is no change. Of `synced`, no process."""
        process = response.process
        if response.kind == response.KIND_SYNCED:
            for pid in sorted(self._known.keys() - self._current):  # gone while nobody looked
                yield "gone", self._known.pop(pid)
            if not self._synced:
                self._synced = True
                yield "synced", process
        elif response.kind == response.KIND_DELETE:
            self._current.discard(process.pid)
            yield "gone", self._known.pop(process.pid, process)
        elif response.kind == response.KIND_PUT:
            self._current.add(process.pid)
            before = self._known.get(process.pid)
            self._known[process.pid] = process
            if before is None:
                yield "there" if not self._synced else "new", process
            elif _lasting(before) != _lasting(process):
                yield "changed", process


def _lasting(process: Process) -> Process:
    lasting = type(process)()
    lasting.CopyFrom(process)
    lasting.ClearField("last_status_time")
    return lasting


class EventCursor:
    """The place in Catalyst's log."""

    def __init__(self, start: Start) -> None:
        self._start = start

    def opened(self, metadata: dict[str, str]) -> None:
        """A stream begins. What is new from now on stays so, even when it breaks at once."""
        if self._start == "new" and metadata.get(NEXT_SEQUENCE, "").isdigit():
            self._start = int(metadata[NEXT_SEQUENCE])

    def position(self) -> StartPosition:
        """Where the next stream has to begin."""
        from draft_api.core.message_broker.actors.v1.consumer_pb2 import StartPosition

        if isinstance(self._start, int):
            return StartPosition(sequence=self._start)
        if isinstance(self._start, datetime):
            position = StartPosition()
            position.time.FromDatetime(self._start)
            return position
        return StartPosition(new=True) if self._start == "new" else StartPosition(all=True)

    def read(self, response: ConsumeResponse) -> bool:
        """Whether the event was not seen before; counts it as seen."""
        if isinstance(self._start, int) and response.sequence < self._start:
            return False
        self._start = response.sequence + 1
        return True


def _type_only(value: AnyMessage) -> AnyMessage:
    return type(value)(type_url=value.type_url)
