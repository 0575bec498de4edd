"""All verdicts of a cluster as one ordered value.

Planning is pure: it gets what is asked and what was seen, and has no way to reach a host.
Same input, same plan.
"""

from __future__ import annotations

import dataclasses
import graphlib
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dctl.engine.growth import Move, crossing, refuse
from dctl.engine.moves import served, start_first, told_to_move, with_moves
from dctl.engine.quorum import all_at_once, unwell_first
from dctl.engine.rollout import stand_ins, with_stand_ins
from dctl.engine.scope import WHOLE, Scope, within
from dctl.engine.sight import Sight
from dctl.engine.step import Role, Step
from dctl.engine.verdict import Action, verdict
from dctl.errors import ForeignError
from dctl.hosts.base import RUN_FROM, Endpoint, Json, Key, Observed, Resource, key_of, machine_of
from dctl.hosts.ports import reachable

__all__ = ["Plan", "Role", "Step", "in_dependency_order", "make_plan", "only_of"]


K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do: every resource of the cluster in dependency order, the unchanged
    ones too (an apply waits for their health); deletions come first. `silent` are the hosts that
    could not be looked at, and why: nothing is planned for them; `gone` are such that have left the
    spec. A plan of a `scope` has the steps of that alone; `whole` are then those of all. With a
    `move` the engine's data come before everything else; `leaving` are nodes of the engine that
    have ended and still count."""

    cluster: str
    steps: tuple[Step, ...]
    silent: Mapping[str, str] = field(default_factory=dict)
    scope: Scope = WHOLE
    whole: tuple[Step, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)
    move: Move | None = None
    leaving: tuple[str, ...] = ()

    @property
    def to_do(self) -> bool:
        """Whether there is anything to carry out."""
        return bool(self.changed or self.move or self.leaving)

    @property
    def changed(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.changes)

    @property
    def left_out(self) -> int:
        """How many changes are not in its scope."""
        here = {key_of(step) for step in self.steps}
        return sum(step.changes and key_of(step) not in here for step in self.whole)

    @property
    def asked(self) -> list[Resource]:
        """All that the cluster is asked for, in the scope or not."""
        return asked_by(self.whole or self.steps)

    def count(self, action: Action) -> int:
        return sum(step.verdict.action is action for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The documented shape of `dctl infra plan -o json`."""
        return {
            "cluster": self.cluster,
            "changes": len(self.changed),
            "silent": dict(self.silent),
            "gone": dict(self.gone),
            "scope": self.scope.to_json(),
            "left_out": self.left_out,
            "move": self.move.to_json() if self.move else None,
            "leaving": list(self.leaving),
            "steps": [
                {
                    "host": step.host,
                    "kind": step.kind.value,
                    "name": step.name,
                    "service": step.service,
                    "action": step.verdict.action.value,
                    "reason": step.verdict.reason,
                    "changes": [
                        {"field": c.field, "before": c.before, "after": c.after}
                        for c in step.verdict.changes
                    ],
                }
                for step in self.steps
            ],
        }


def asked_by(steps: Iterable[Step]) -> list[Resource]:
    """What the cluster is asked for by these steps."""
    return [s.resource for s in steps if s.resource and s.role is Role.PART]


def make_plan(
    cluster: str,
    asked: Sequence[Resource],
    sight: Sight,
    scope: Scope = WHOLE,
    *,
    move: Move | None = None,
    leaving: tuple[str, ...] = (),
) -> Plan:
    """Compare everything that could be looked at; raises ForeignError when a name that we need is
    somebody else's, DctlError when data would be left behind. With a `scope` only what is in it
    changes, and what that needs. A `move` is one that may be made, `leaving` see `Plan`."""
    silent = _silent(asked, sight, scope)
    asked = [resource for resource in asked if resource.host not in sight.unseen]
    there = {key_of(o): o for o in sight.things}
    wished = {key_of(r) for r in asked}
    temporary = stand_ins(asked)
    orphans = [
        Step(o.kind, o.name, o.host, o.service, verdict(None, o, cluster))
        for place, o in sorted(there.items())
        if place not in wished and place not in temporary
    ]
    # Dependents go before what they need; observed needs tell, names break ties.
    deletions = [s for s in _dependents_first(orphans, there) if s.changes]
    parts = [_step(r, there.get(key_of(r)), cluster) for r in in_dependency_order(asked)]
    whole = (*told_to_move(deletions, parts), *parts)
    chosen = within(whole, scope) if scope else whole
    needed = move or crossing(asked_by(chosen), sight.things)
    if needed and (move is None or scope):
        raise refuse(needed)
    steps = _rolled_out(chosen, there, cluster, scope)
    refused = [s for s in steps if s.verdict.action is Action.REFUSE]
    if refused:
        raise ForeignError(
            "; ".join(f"{s.kind} {s.name} on {s.host} {s.verdict.reason}" for s in refused),
            hint="dctl touches only what it made: rename the service, or remove the other",
        )
    gone = {host: why for host, why in sorted(sight.gone.items()) if scope.reaches(host)}
    return Plan(cluster, tuple(steps), silent, scope, whole if scope else (), gone, move, leaving)


def _rolled_out(
    chosen: Sequence[Step], there: Mapping[Key, Observed], cluster: str, scope: Scope
) -> list[Step]:
    """The steps, with those of rollouts and of what moves where they belong."""
    chosen = all_at_once(unwell_first(chosen, there), there)
    moving = start_first(chosen, there)
    steps = [step for step in chosen if step not in moving]
    steps = with_stand_ins(steps, there, cluster, served(moving, steps))
    # What stands in is where the first replica is.
    steps = [step for step in steps if step.role is Role.PART or scope.reaches(step.host)]
    stood_in = {step.service for step in steps if step.role is Role.STAND_IN}
    return with_moves(steps, moving, stood_in)


def _silent(asked: Sequence[Resource], sight: Sight, scope: Scope) -> dict[str, str]:
    """The hosts that do not answer, as far as something in the scope is there."""
    meant = {machine_of(resource.host) for resource in asked if scope.covers(resource)}
    return {
        host: error.message
        for host, error in sorted(sight.silent.items())
        if not scope or host in meant or (not scope.services and scope.reaches(host))
    }


def only_of(asked: Sequence[Resource], sight: Sight) -> Sight:
    """What counts for a plan of what was asked for at another time: what programs run from is
    never in the way."""
    wished = {key_of(r) for r in asked}
    things = tuple(o for o in sight.things if o.kind not in RUN_FROM or key_of(o) in wished)
    return dataclasses.replace(sight, things=things)


def _step(asked: Resource, seen: Observed | None, cluster: str) -> Step:
    before = None
    if seen is not None and seen.spec is not None:
        before = _as_it_runs(asked, seen.spec, seen.ports or asked.ports)
    decided = verdict(asked, seen, cluster)
    return Step(asked.kind, asked.name, asked.host, asked.service, decided, asked, before)


def _as_it_runs(
    asked: Resource, spec: Mapping[str, Json], ports: Mapping[str, Endpoint]
) -> Resource:
    """A resource with what it runs with until now, its health asked for where it listens."""
    check = asked.check
    moved = {
        str(reachable(asked.ports[name])): str(reachable(ports[name]))
        for name in ports.keys() & asked.ports.keys()
    }
    if check and moved:
        listened = "|".join(map(re.escape, moved))
        target = re.sub(rf"({listened})(?!\d)", lambda found: moved[found[1]], check.target)
        check = dataclasses.replace(check, target=target)
    return dataclasses.replace(asked, spec=spec, ports=ports, check=check)


def in_dependency_order(resources: Sequence[Resource]) -> list[Resource]:
    """What is needed comes first; apart from that the order of the spec."""
    by_name = {r.name: r for r in resources}
    graph = {r.name: {n.resource for n in r.needs if n.resource in by_name} for r in resources}
    return [by_name[name] for name in _sorted(graph, [r.name for r in resources])]


def _dependents_first(steps: Sequence[Step], there: Mapping[Key, Observed]) -> list[Step]:
    # One name may be on two hosts, when what had moved was cut off.
    by_key = {key_of(s): s for s in steps}
    named: dict[str, set[Key]] = {}
    for step in steps:
        named.setdefault(step.name, set()).add(key_of(step))
    graph = {
        place: {other for name in there[place].needs for other in named.get(name, ())}
        for place in by_key
    }
    return [by_key[place] for place in reversed(_sorted(graph, sorted(by_key)))]


def _sorted(graph: Mapping[K, set[K]], order: Sequence[K]) -> list[K]:
    """Topological order in which ties keep `order`, so that a plan is the same every time."""
    rank = {name: i for i, name in enumerate(order)}
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    result: list[K] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        result += ready
        sorter.done(*ready)
    return result
