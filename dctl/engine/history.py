"""What was done to a cluster, told from its journal, and the releases that one can go back to.
Pure.

A change has a number. It is written down before its first step and after its last, so that one
which was cut off is seen as such. What was asked for by a change that went well is kept as a
release under its number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dctl.engine.records import resource_from, resource_json
from dctl.engine.scope import WHOLE, Scope
from dctl.errors import NotFoundError
from dctl.hosts.base import Holder, Json, Resource

Outcome = Literal["ok", "partly", "failed", "interrupted", "cut off", "running"]

ASKING = ("apply", "rollback")
"""Changes of what is asked for; the others (heal, stop, ...) only change what is there."""

ENDED = "ended"
"""The event that closes a change."""


@dataclass(frozen=True, slots=True)
class Record:
    """One change. `what` is the command's verb, `planned` counts its steps by what they do, `to`
    is the release that a rollback went to, `took` is None when its end is not known, `scope` is
    the part of the cluster that it was for."""

    id: int
    what: str
    time: float
    who: str
    result: Outcome
    planned: Mapping[str, int]
    done: tuple[str, ...] = ()
    not_done: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    took: float | None = None
    to: int | None = None
    scope: Scope = WHOLE

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "scope": self.scope.to_json()}


@dataclass(frozen=True, slots=True)
class Release:
    """What a cluster was asked for when it was well. `of` is the release that it repeats, when it
    was made by a rollback."""

    id: int
    time: float
    who: str
    source: str
    runtime: str
    resources: tuple[Resource, ...]
    of: int | None = None

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "time": self.time,
            "who": self.who,
            "source": self.source,
            "runtime": self.runtime,
            "of": self.of,
            "resources": [resource_json(resource) for resource in self.resources],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Release:
        resources = tuple(resource_from(resource) for resource in value["resources"])
        return cls(**{**value, "resources": resources})


def next_number(journal: Sequence[Mapping[str, Json]]) -> int:
    """The number of the next change."""
    return max((entry.get("id", 0) for entry in journal), default=0) + 1


def history(journal: Iterable[Mapping[str, Json]], holder: Holder | None = None) -> list[Record]:
    """The changes, oldest first. While somebody has the lock, the newest may still be running."""
    begun: dict[int, Mapping[str, Json]] = {}
    ends: dict[int, Mapping[str, Json]] = {}
    for entry in journal:
        if number := entry.get("id"):
            (ends if entry["event"] == ENDED else begun)[number] = entry
    newest = max(begun, default=0)
    return [
        _record(entry, ends.get(number), running=number == newest and holder is not None)
        for number, entry in sorted(begun.items())
    ]


def _record(begun: Mapping[str, Json], end: Mapping[str, Json] | None, *, running: bool) -> Record:
    end_json = end or {}
    return Record(
        id=begun["id"],
        what=begun["event"],
        time=begun["time"],
        who=begun["who"],
        result=_outcome(end, running=running),
        planned=dict(Counter(step.split()[0] for step in begun.get("steps", ()))),
        done=tuple(end_json.get("done", ())),
        not_done=tuple(end_json.get("not_done", ())),
        failed=end_json.get("failed", {}),
        reason=end_json.get("halted", ""),
        took=end["time"] - begun["time"] if end else None,
        to=begun.get("to"),
        scope=Scope.from_json(begun.get("scope")),
    )


def _outcome(end: Mapping[str, Json] | None, *, running: bool) -> Outcome:
    if end is None:
        return "running" if running else "cut off"
    if end.get("interrupted") or end.get("halted"):
        return "interrupted"
    if end.get("failed") or end.get("silent"):
        return "partly" if end.get("done") else "failed"
    return "ok"


def target(
    records: Sequence[Record], releases: Sequence[Release], number: int | None = None
) -> Release:
    """The release to go back to: the one of that number, else the last good one.

    That is the newest when the last change of what is asked for did not go well, and the one before
    it when it did; asked again, it goes further back. A rollback that did not go well is gone on
    with.
    """
    by_number = {release.id: release for release in releases}
    if number is not None:
        if number not in by_number:
            known = ", ".join(map(str, by_number)) or "none"
            raise NotFoundError(
                f"there is no release {number}; kept are: {known}", hint="dctl infra history"
            )
        return by_number[number]
    if not releases:
        raise NotFoundError(
            "there is no good release to go back to yet",
            hint="each apply that ends well leaves one",
        )
    newest = releases[-1]
    last = next((r for r in reversed(records) if r.what in ASKING), None)
    if last and last.result != "ok":
        return by_number.get(last.to or newest.id, newest)
    standing = newest.of or newest.id
    before = [r for r in releases if (r.of or r.id) < standing and r.id < standing]
    if not before:
        raise NotFoundError(
            f"release {standing} is the oldest that is kept: there is none before it",
            hint="dctl infra history",
        )
    return before[-1]
