"""The last changes of a store in memory, for watchers.

A watcher is a position, not a queue: however slow it is, it costs nothing, and when it falls out of
what is kept it is told instead of losing changes silently.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter

from draft_services.engine.errors import Compacted
from draft_services.engine.store import Change

MAX_CHANGES = 20_000
MAX_BYTES = 16 * 1024 * 1024
_OVERHEAD = 300  # bytes of a change beside its value

_revision = attrgetter("revision")


class History:
    """Every change after `floor`, up to limits."""

    def __init__(self, *, max_changes: int = MAX_CHANGES, max_bytes: int = MAX_BYTES) -> None:
        self.floor = 0
        self._changes: list[Change] = []
        self._bytes = 0
        self._max_changes = max_changes
        self._max_bytes = max_bytes

    def append(self, change: Change) -> None:
        """Keep a change, which is newer than all before."""
        self._changes.append(change)
        self._bytes += _size(change)
        if len(self._changes) > self._max_changes or self._bytes > self._max_bytes:
            # Half at once, so that forgetting costs nothing per change.
            self._forget((len(self._changes) + 1) // 2)

    def cut(self, revision: int) -> None:
        """Changes up to `revision` are not all known: nobody can resume from before it."""
        self._forget(bisect_right(self._changes, revision, key=_revision))
        self.floor = max(self.floor, revision)

    def after(self, revision: int) -> list[Change]:
        """Every change after `revision`; `Compacted` when some are no longer known."""
        if revision < self.floor:
            raise Compacted(f"changes are kept after revision {self.floor} only")
        return self._changes[bisect_right(self._changes, revision, key=_revision) :]

    def _forget(self, count: int) -> None:
        if count:
            self.floor = self._changes[count - 1].revision
            self._bytes -= sum(map(_size, self._changes[:count]))
            del self._changes[:count]


def _size(change: Change) -> int:
    return _OVERHEAD + (len(change.entry.value) if change.entry else 0)
