"""Who has been silent for too long.

Decisions only; the clock is an argument. Every process has one deadline in a heap, and a beat only
notes its time: the deadline is looked at again when it comes. So ten thousand beats cost nothing
but ten thousand notes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What silence means."""

    SILENT = "silent"
    GONE = "gone"


@dataclass(slots=True)
class _Lease:
    heard: float
    silent: bool = False
    """Whether `SILENT` has been said since it was last heard."""


class Liveness:
    """Leases of many processes: `SILENT` after `silent` seconds, `GONE` after `gone`."""

    def __init__(self, *, silent: float, gone: float) -> None:
        self.silent = silent
        self.gone = gone
        self._leases: dict[str, _Lease] = {}
        self._deadlines: list[tuple[float, str]] = []

    def start(self, pid: str, now: float) -> None:
        """Begin to count the silence of a process, unless it is counted already."""
        if pid not in self._leases:
            self._leases[pid] = _Lease(now)
            heapq.heappush(self._deadlines, (now + self.silent, pid))

    def heard(self, pid: str, now: float) -> None:
        """A sign of life. Of a process that is not counted it means nothing."""
        lease = self._leases.get(pid)
        if lease is None:
            return
        lease.heard = now
        if lease.silent:
            lease.silent = False
            heapq.heappush(self._deadlines, (now + self.silent, pid))

    def forget(self, pid: str) -> None:
        """Stop counting."""
        self._leases.pop(pid, None)

    def repeat(self, pid: str, now: float) -> None:
        """A verdict could not be carried out: say it again, soon."""
        if lease := self._leases.get(pid):
            lease.silent = False
            heapq.heappush(self._deadlines, (now + min(1.0, self.silent), pid))

    def restart(self, now: float) -> None:
        """Every lease starts anew: signs of life may have been missed."""
        for lease in self._leases.values():
            lease.heard, lease.silent = now, False
        self._deadlines = [(now + self.silent, pid) for pid in self._leases]
        heapq.heapify(self._deadlines)

    def due(self, now: float) -> list[tuple[str, Verdict]]:
        """Verdicts whose time has come. `GONE` is repeated until the process is forgotten."""
        verdicts: list[tuple[str, Verdict]] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            _, pid = heapq.heappop(self._deadlines)
            lease = self._leases.get(pid)
            if lease is None:
                continue
            if lease.heard + self.gone <= now:
                verdicts.append((pid, Verdict.GONE))
                again = now + self.silent
            elif lease.heard + self.silent <= now:
                if not lease.silent:
                    verdicts.append((pid, Verdict.SILENT))
                lease.silent = True
                again = lease.heard + self.gone
            else:
                again = lease.heard + self.silent
            heapq.heappush(self._deadlines, (again, pid))
        return verdicts

    def next(self) -> float | None:
        """When `due` should be asked again."""
        return self._deadlines[0][0] if self._deadlines else None
