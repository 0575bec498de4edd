"""Nodes of the engine that have ended and are to count no more, before any other one is touched.

What has ended counts as one that is away: of five, two that left and one that is restarted are more
than the others can do without. Which ones still count, the books tell: the newest release that was
well has them, and none is kept before they are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from dctl.clients import Way
from dctl.engine.growth import ENGINE, engine_of, is_single
from dctl.engine.history import Release
from dctl.engine.plan import Plan
from dctl.engine.scope import Scope
from dctl.engine.sight import Sight
from dctl.engine.step import Step
from dctl.errors import DctlError
from dctl.hosts.base import Resource

_WITHIN = 60.0  # seconds in which the others have found out that one is away
_CALL = 10.0


class Reached(Protocol):
    """What this needs of a cluster."""

    def way(self, part: str) -> Way: ...


def leaving(
    asked: Sequence[Resource],
    sight: Sight,
    scope: Scope,
    releases: Callable[[], Sequence[Release]],
) -> tuple[str, ...]:
    """The nodes of the newest of the `releases` that are neither asked for nor there, where that
    could be seen."""
    if not is_counted(asked):
        return ()
    known = {resource.name for resource in asked} | {thing.name for thing in sight.things}
    unseen = {*sight.unseen, *sight.gone}
    return tuple(
        before.name
        for release in releases()[-1:]
        for before in release.resources
        if before.service == ENGINE
        and scope.covers(before)
        and before.name not in known
        and before.host not in unseen
    )


def is_counted(asked: Sequence[Resource]) -> bool:
    """Whether the engine that is asked for is of nodes that count each other, with a Blueprint to
    be told who leaves."""
    wanted = engine_of(asked)
    told = any(resource.service == "blueprint" for resource in asked)
    return told and bool(wanted) and not is_single(wanted[0])


class Leaving:
    """The end of what leaves during one change; `say` hears what a person should know."""

    def __init__(self, cluster: Reached, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._say = say

    def begin(self, plan: Plan) -> None:
        """Of what had ended before. That nobody can be asked is no matter as yet: what is to be
        carried out may bring a Blueprint back."""
        try:
            self.end(plan)
        except DctlError as error:
            self._say(error.message)

    def removed(self, plan: Plan, step: Step) -> None:
        """Of what was removed right now."""
        asked = {resource.name for resource in plan.asked}
        left = step.service == ENGINE and step.name not in asked
        if left and not plan.move and is_counted(plan.asked):
            self._remove(step.name)

    def end(self, plan: Plan) -> None:
        """Of what had ended before, however it goes. Raises DctlError."""
        for name in plan.leaving:
            self._remove(name)

    def _remove(self, name: str) -> None:
        from dctl.clients import connect
        from dctl.members import remove

        try:
            with connect("Blueprint", self._cluster.way("blueprint"), timeout=_CALL) as core:
                remove(core, name, within=_WITHIN)
        except DctlError as error:
            raise DctlError(
                f"{name} has ended, and still counts as a node of the engine: {error.message}",
                hint=f"dctl cluster remove {name}",
            ) from error
