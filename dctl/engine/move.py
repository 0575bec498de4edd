"""Move the engine's data to other nodes: by a backup, while nobody writes.

Until the backup is whole and all that writes has ended, nothing has changed: whoever is cut off
there begins anew. From then on the file is the truth, until it is restored; it is named `FILE` only
then. Whatever is cut off after that goes on with the file.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from dctl.clients import Way
from dctl.engine.apply import apply
from dctl.engine.growth import ENGINE, Move, crossing
from dctl.engine.own_secrets import OwnSecrets
from dctl.engine.plan import Plan
from dctl.engine.result import Event, Result
from dctl.engine.scope import Scope
from dctl.engine.sight import Sight
from dctl.errors import DctlError, UnreachableError, WaitTimeoutError
from dctl.hosts.base import RUN_FROM, RUNNING_KINDS, Host, Observed, Resource, State
from dctl.hosts.state.files import private_folder

FILE = "engine.tar.zst"
_TAKEN = "engine.taken.tar.zst"
_WRITERS = ("catalyst", "blueprint")  # the last one of these takes the backup
_UP = (State.RUNNING, State.STARTING)
_HELD = 30.0  # seconds after a backup in which nobody writes: half of what Blueprint promises
_TRIES = 5
_BACK = 60.0  # seconds in which a Blueprint has come up
_WHOLE = 3600.0
_CALL = 10.0
_AGAIN = 0.2

Found = Literal["serves", "awaits", "away"]


class Movable(Protocol):
    """What a move needs of a cluster."""

    name: str
    own: OwnSecrets

    def hosts(self) -> Mapping[str, Host]: ...

    def way(self, part: str) -> Way: ...

    def look(self) -> Sight: ...

    def compare(
        self, asked: Sequence[Resource], scope: Scope = ..., move: Move | None = None
    ) -> Plan: ...


class Mover:
    """One move. `file` is the backup, once it is the truth; `say` hears what a person should
    know."""

    def __init__(self, cluster: Movable, file: Path, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._hosts = cluster.hosts()
        self._file = file
        self._say = say

    def run(
        self, plan: Plan, on_event: Callable[[Event], None], halt: Callable[[], str]
    ) -> tuple[Plan, Result | None]:
        """Have the data where `plan` wants the nodes. Returns what is left to do of it, or how it
        failed. Raises DctlError for what is no step of a plan."""
        state = self._state()
        if state != "serves" and not self._file.exists():
            state = self._revived()
        if state == "serves":
            if crossing(plan.asked, self._cluster.look().things) is None:
                self._file.unlink(missing_ok=True)  # only that was left to do
                return self._again(plan), None
            self._save()
        elif state == "awaits" and not self._file.exists():
            raise DctlError(
                f"the engine's data are yet to be restored, and {self._file} is not there",
                hint="apply where it was begun (dctl infra history), or dctl backup restore FILE",
            )
        plan = self._again(plan)
        self._say("the nodes of the engine are exchanged; writes wait")
        result = apply(_nodes_of(plan), self._hosts, on_event=on_event, halt=halt)
        if not result.ok:
            return plan, result
        self._restore(plan)
        left = self._again(plan)
        self._resume(left)
        return left, None

    def _again(self, plan: Plan) -> Plan:
        """The plan as of now."""
        return self._cluster.compare(plan.asked, plan.scope, plan.move)

    def _way(self) -> Way:
        return self._cluster.way("blueprint")

    def _state(self) -> Found:
        """What a Blueprint says, if one is reached."""
        from dctl.backups import blueprint

        try:
            with blueprint(self._way()) as core:
                return (
                    "awaits" if core.describe(self._cluster.own.nonce()).awaits_data else "serves"
                )
        except (UnreachableError, WaitTimeoutError):
            return "away"

    def _revived(self) -> Found:
        """The same, after what was held by a move that was cut off has been started again."""
        for seen in self._writers(State.HELD, State.STOPPED, State.FAILED):
            if seen.service == "blueprint":
                self._hosts[seen.host].start(seen.name)
        return self._answered()

    def _answered(self) -> Found:
        """The same, once one answers."""
        deadline = time.monotonic() + _BACK
        while (state := self._state()) == "away":
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"no Blueprint of {self._cluster.name} answers: its data cannot be moved",
                    hint="bring it back as it was, then apply: dctl infra status",
                )
            time.sleep(_AGAIN)
        return state

    def _save(self) -> None:
        """Take the backup, and end all that writes. Until it is whole nothing has changed: what
        was ended is started again when it cannot be had."""
        self._file.unlink(missing_ok=True)  # of a move that was overtaken
        taken = self._file.with_name(_TAKEN)
        private_folder(taken.parent)
        *others, last = sorted(self._writers(*_UP), key=lambda o: _WRITERS.index(o.service))
        try:
            for seen in others:
                self._hosts[seen.host].stop(seen.name)
            self._take(taken, last)
        except BaseException:
            for seen in (*others, last) if not self._file.exists() else ():
                with suppress(DctlError):
                    self._hosts[seen.host].start(seen.name)
            raise

    def _take(self, taken: Path, last: Observed) -> None:
        """Take the backup through the `last` one that writes, and end that, too."""
        from dctl.backups import blueprint, is_still, take

        self._say("a backup of the engine's data is taken; writes wait from here on")
        for _ in range(_TRIES):
            with blueprint(self._way()) as core:
                take(
                    core,
                    taken,
                    cluster=self._cluster.name,
                    nonce=self._cluster.own.nonce(),
                    timeout=_WHOLE,
                    replace=True,
                    hold=True,
                )
                since = time.monotonic()
                still = is_still(taken, core.describe(self._cluster.own.nonce()))
            if not still:  # what had been on its way came in
                continue
            self._hosts[last.host].stop(last.name)
            if time.monotonic() - since < _HELD and not self._restarted(last):
                taken.replace(self._file)
                return
            self._hosts[last.host].start(last.name)
            self._answered()
        raise DctlError(
            "the engine's data do not come to rest, so they cannot be moved: nothing was changed",
            hint="dctl infra start blueprint catalyst; see who writes, then apply again",
        )

    def _restarted(self, before: Observed) -> bool:
        """Whether a process is another one than before: it would not have refused writes."""
        now = [seen for seen in self._cluster.look().things if seen.name == before.name]
        return not now or now[0].restarts != before.restarts

    def _restore(self, plan: Plan) -> None:
        from dctl.archive import reading
        from dctl.backups import blueprint, restore, wait

        own = next(r for r in plan.asked if r.service == "blueprint")
        self._hosts[own.host].ensure(own)
        # No other one: as they were, they do not know that data are awaited.
        if self._answered() == "awaits":
            self._say("the engine's data are restored")
            with reading(self._file) as backup:
                backup.check()
                deadline = time.monotonic() + _BACK
                while True:
                    try:
                        with blueprint(self._way()) as core:
                            restore(core, backup, nonce=self._cluster.own.nonce(), timeout=_WHOLE)
                        break
                    except DctlError:
                        # One that was cut off counts as under way for some seconds.
                        if time.monotonic() > deadline:
                            raise
                    time.sleep(_AGAIN)
            wait(self._way, self._cluster.own.nonce(), time.monotonic() + _BACK)
        self._file.unlink()

    def _resume(self, left: Plan) -> None:
        """Start what was held for the move and is not changed by what is left to do."""
        changed = {step.name for step in left.changed}
        for seen in self._writers(State.HELD):
            if seen.name not in changed:
                self._hosts[seen.host].start(seen.name)

    def _writers(self, *states: State) -> list[Observed]:
        things = [o for o in self._cluster.look().things if o.kind in RUNNING_KINDS]
        return [o for o in things if o.service in _WRITERS and o.state in states]


def _nodes_of(plan: Plan) -> Plan:
    """The engine's nodes alone, all at once: nobody is served, and only together they begin."""
    steps = [
        dataclasses.replace(
            s, resource=s.resource and dataclasses.replace(s.resource, rollout=None)
        )
        for s in plan.steps
        if s.service == ENGINE or s.kind in RUN_FROM
    ]
    return dataclasses.replace(plan, steps=tuple(steps))
