"""How the replicas of a service are exchanged without a gap, and put back when that fails.

Start-first: a stand-in with the new spec serves while the replicas are exchanged one after the
other, and leaves at the end. It is also the trial: if it does not become healthy, no replica has
been touched. All of this is steps in a plan, so that it is shown, cut off and gone on with like
everything else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from dctl.engine.step import Role, Step
from dctl.engine.verdict import Action, Verdict, verdict
from dctl.hosts.base import Key, Kind, Observed, Resource, key_of

EXCHANGES = (Action.UPDATE, Action.REPLACE)
_Seen = Mapping[Key, Observed]


def with_stand_ins(
    steps: Sequence[Step], there: _Seen, cluster: str, moving: Collection[str] = ()
) -> list[Step]:
    """The steps, with a stand-in before the first and its end after the last exchange of each
    service that asks for one, also of those that are `moving`. One that a cut rollout left leaves
    when its service stands."""
    # Of its replicas: its routes come after them.
    last = {step.service: number for number, step in enumerate(steps) if _stand_in(step)}
    exchanged = {step.service for step in steps if step.verdict.action in EXCHANGES} | {*moving}
    begun: set[str] = set()
    found: list[Step] = []
    for number, step in enumerate(steps):
        stand_in = _stand_in(step)
        if stand_in and step.service in exchanged and step.service not in begun:
            begun.add(step.service)
            decided = verdict(stand_in, there.get(key_of(stand_in)), cluster)
            found.append(_step(stand_in, decided, Role.STAND_IN))
        found.append(step)
        if stand_in and number == last[step.service]:
            seen = key_of(stand_in) in there
            if seen or step.service in begun:
                why = Verdict(Action.DELETE, "stood in during the rollout")
                found.append(dataclasses.replace(_step(stand_in, why, Role.LEAVING), resource=None))
    return found


def stand_ins(asked: Sequence[Resource]) -> set[Key]:
    """What may be there for the time of a rollout, and is no orphan."""
    found = (r.rollout.stand_in for r in asked if r.rollout)
    return {key_of(stand_in) for stand_in in found if stand_in}


def undoing(
    steps: Sequence[Step], touched: Sequence[Step], failed: Sequence[Step]
) -> tuple[Step, ...]:
    """What puts the services of the `failed` steps back to what ran before. `steps` are all of the
    plan, `touched` those that changed something, the failed ones included."""
    services = {step.service for step in failed if _is_rollout(step)}
    exchanged = [s for s in touched if s.service in services and s.verdict.action in EXCHANGES]
    stuck = {step.service for step in exchanged if not _can_go_back(step)}
    back = [
        dataclasses.replace(
            step,
            verdict=Verdict(step.verdict.action, "rolled back"),
            resource=_unwatched(step.before),
        )
        for step in exchanged
        if step.role is Role.PART and step.before and step.service not in stuck
    ]
    # Where there is no way back, the stand-in goes on serving.
    leaving = [
        step for step in steps if step.role is Role.LEAVING and step.service in services - stuck
    ]
    return (*back, *leaving)


def _unwatched(resource: Resource) -> Resource:
    """What ran before is known to be good."""
    assert resource.rollout is not None
    return dataclasses.replace(resource, rollout=dataclasses.replace(resource.rollout, monitor=0.0))


def _is_rollout(step: Step) -> bool:
    resource = step.resource
    wanted = (
        resource is not None and resource.rollout is not None and resource.rollout.auto_rollback
    )
    return wanted and (step.verdict.action in EXCHANGES or step.role is Role.STAND_IN)


def _can_go_back(step: Step) -> bool:
    """Not to code that is no longer there: a process runs from its folder as it is now."""
    assert step.resource is not None
    if step.before is None:
        return step.role is Role.STAND_IN
    if step.kind is not Kind.PROCESS or step.role is Role.STAND_IN:
        return True
    return bool(step.before.spec.get("source") == step.resource.spec.get("source"))


def _stand_in(step: Step) -> Resource | None:
    rollout = step.resource.rollout if step.resource else None
    return rollout.stand_in if rollout else None


def _step(resource: Resource, decided: Verdict, role: Role) -> Step:
    return Step(
        resource.kind, resource.name, resource.host, resource.service, decided, resource, role=role
    )
