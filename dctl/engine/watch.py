"""Keep a cluster as it was asked for: compare again and again, and heal what differs.

What is asked for is what the last good apply asked for, whoever made it; a change of the spec's
file alone is nothing to a watch. While somebody else is at work, or has left something half done,
it waits; when the cluster is taken down on purpose, it ends.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dctl.engine.apply import Event, Failure, Phase, Result
from dctl.engine.history import ASKING, Record, Release
from dctl.engine.plan import Plan, make_plan, only_of
from dctl.engine.sight import Sight
from dctl.engine.step import Step
from dctl.errors import DctlError, LockedError
from dctl.hosts.base import Resource

LONGEST = 300.0  # seconds between two tries of what does not get well
_WELL = 60.0  # seconds of peace after which earlier tries are forgotten, if those were short
_ENDS = ("down", "destroy", "clean")


@dataclass(frozen=True, slots=True)
class Healed:
    """One thing was put right, within `elapsed` seconds."""

    step: Step
    elapsed: float


@dataclass(frozen=True, slots=True)
class Unhealed:
    """One thing could not be put right; it is tried again in `again` seconds at the earliest."""

    failure: Failure
    again: float


@dataclass(frozen=True, slots=True)
class Told:
    """Anything else that a person wants to know."""

    text: str


Note = Healed | Unhealed | Told


class Stop(Protocol):
    """When to end: an event of threading, or something like it."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, /) -> bool: ...


class Watched(Protocol):
    """What a watch needs of a cluster."""

    name: str

    def look(self) -> Sight: ...

    def history(self) -> list[Record]: ...

    def releases(self) -> list[Release]: ...

    def heal(
        self,
        decide: Callable[[Sight], Plan],
        *,
        on_event: Callable[[Event], None],
        halt: Callable[[], str],
    ) -> Result: ...


@dataclass
class Patience:
    """How long to leave a thing alone: twice as long after each try, until it has been well for a
    while. Pure; times in seconds of any clock."""

    first: float
    _tries: dict[str, tuple[int, float]] = field(default_factory=dict)

    def delay(self, name: str) -> float:
        """How long it is left alone after its last try."""
        tries, _ = self._tries.get(name, (0, 0.0))
        # The exponent is bounded so that years of trying do not overflow a float.
        return min(self.first * 2.0 ** min(tries - 1, 30), LONGEST) if tries else 0.0

    def due(self, name: str, now: float) -> bool:
        """Whether it may be tried now."""
        _, last = self._tries.get(name, (0, now))
        return now - last >= self.delay(name)

    def tried(self, name: str, now: float) -> None:
        tries, _ = self._tries.get(name, (0, now))
        self._tries[name] = (tries + 1, now)

    def look(self, ill: Collection[str], now: float) -> None:
        """Forget the tries of what has been well for long enough."""
        for name, (_, last) in list(self._tries.items()):
            if name not in ill and now - last > max(_WELL, 2 * self.delay(name)):
                del self._tries[name]


def restricted(plan: Plan, due: Callable[[str], bool]) -> Plan:
    """The changes of a plan that are due, and what they wait for. What needs a thing that is left
    alone for now is left alone too."""
    chosen: list[Step] = []
    waiting: set[str] = set()
    standing = {step.name: step for step in plan.steps if not step.changes}
    for step in plan.changed:  # in dependency order
        needs = {need.resource for need in step.resource.needs} if step.resource else set[str]()
        if not due(step.name) or needs & waiting:
            waiting.add(step.name)
            continue
        chosen += [step, *(standing[name] for name in needs if name in standing)]
    picked = {id(step) for step in chosen}
    return dataclasses.replace(plan, steps=tuple(step for step in plan.steps if id(step) in picked))


def watch(
    cluster: Watched,
    asked: Sequence[Resource],
    *,
    every: float,
    stop: Stop,
    tell: Callable[[Note], None],
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Compare every `every` seconds until `stop` is set or the cluster is taken down."""
    _Watch(cluster, list(asked), every, stop, tell, clock).run()


class _Watch:
    def __init__(
        self,
        cluster: Watched,
        asked: list[Resource],
        every: float,
        stop: Stop,
        tell: Callable[[Note], None],
        clock: Callable[[], float],
    ) -> None:
        self.cluster, self.asked, self.every = cluster, asked, every
        self.stop, self.clock, self._tell = stop, clock, tell
        self.patience = Patience(every)
        self.known = _newest(cluster.history())
        self.said = ""

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                if not self.turn():
                    return
            except LockedError:
                pass  # somebody is at work: they may be doing just that
            except DctlError as error:
                self.say(error.message + (f" ({error.hint})" if error.hint else ""))
            self.stop.wait(self.every)

    def turn(self) -> bool:
        """One comparison, and what follows from it; False when there is nothing more to watch."""
        newest = _newest(self.cluster.history())
        if newest is None and self.known and not self.cluster.releases():
            self.say("the cluster was cleaned away: the watch ends")
            return False
        if newest and newest != self.known:
            if newest.what in _ENDS:
                self.say(f"{newest.who} took the cluster down ({newest.what}): the watch ends")
                return False
            if newest.result != "ok":
                what = f"{newest.what} {newest.id} of {newest.who}"
                self.say(f"{what} is {_STANDING[newest.result]}: waiting for the next one")
                return True
            self.adopt(newest)
        plan = self.compare(self.cluster.look())
        now = self.clock()
        self.patience.look([step.name for step in plan.changed], now)
        if restricted(plan, lambda name: self.patience.due(name, now)).changed:
            self.heal()
        self.said = ""
        return True

    def adopt(self, newest: Record) -> None:
        """Follow what somebody else has applied."""
        self.known = newest
        releases = self.cluster.releases()
        if releases and list(releases[-1].resources) != self.asked:
            self.asked = list(releases[-1].resources)
            self.patience = Patience(self.every)
            self._tell(Told(f"following {newest.what} {newest.id} of {newest.who}"))

    def heal(self) -> None:
        elapsed: dict[str, float] = {}

        def listen(event: Event) -> None:
            if event.phase is Phase.DONE:
                elapsed[event.step.name] = event.elapsed

        now = self.clock()
        result = self.cluster.heal(
            lambda sight: restricted(
                self.compare(sight), lambda name: self.patience.due(name, now)
            ),
            on_event=listen,
            halt=lambda: "the watch was ended" if self.stop.is_set() else "",
        )
        now = self.clock()
        for step in result.done:
            self.patience.tried(step.name, now)
            self._tell(Healed(step, elapsed.get(step.name, 0.0)))
        for failure in result.failures:
            self.patience.tried(failure.step.name, now)
            self._tell(Unhealed(failure, self.patience.delay(failure.step.name)))
        for step in result.not_done:
            if not (result.halted or result.interrupted):
                self.patience.tried(step.name, now)

    def compare(self, sight: Sight) -> Plan:
        return make_plan(self.cluster.name, self.asked, only_of(self.asked, sight))

    def say(self, text: str) -> None:
        """Tell it, unless it was the last thing that was told."""
        if text != self.said:
            self.said = text
            self._tell(Told(text))


_STANDING = {
    "running": "under way",
    "cut off": "cut off",
    "partly": "done in part",
    "failed": "failed",
    "interrupted": "interrupted",
}


def _newest(records: Sequence[Record]) -> Record | None:
    """The newest change of what the cluster should be."""
    return next((r for r in reversed(records) if r.what in (*ASKING, *_ENDS)), None)
