"""All verdicts of a cluster as one ordered value.

Planning is pure: it gets what is asked and what was seen, and has no way to reach a host.
Same input, same plan.
"""

from __future__ import annotations

import dataclasses
import graphlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dctl.engine.rollout import stand_ins, with_stand_ins
from dctl.engine.step import Role, Step
from dctl.engine.verdict import Action, verdict
from dctl.errors import ForeignError
from dctl.hosts.base import Kind, Observed, Resource

__all__ = ["Plan", "Role", "Step", "in_dependency_order", "make_plan", "only_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an apply would do: every resource of the cluster in dependency order, the unchanged
    ones too (an apply waits for their health); deletions come first."""

    cluster: str
    steps: tuple[Step, ...]

    @property
    def changed(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.changes)

    def count(self, action: Action) -> int:
        return sum(step.verdict.action is action for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """The documented shape of `dctl infra plan -o json`."""
        return {
            "cluster": self.cluster,
            "changes": len(self.changed),
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


def make_plan(cluster: str, asked: Sequence[Resource], seen: Iterable[Observed]) -> Plan:
    """Compare everything; raises ForeignError when a name that we need is somebody else's."""
    there = {(o.kind, o.name): o for o in seen}
    wished = {(r.kind, r.name): r for r in asked}
    temporary = stand_ins(asked)
    orphans = [
        Step(o.kind, o.name, o.host, o.service, verdict(None, o, cluster))
        for key, o in sorted(there.items())
        if key not in wished and key not in temporary
    ]
    steps = [_step(r, there.get((r.kind, r.name)), cluster) for r in in_dependency_order(asked)]
    steps = with_stand_ins(steps, there, cluster)
    refused = [s for s in steps if s.verdict.action is Action.REFUSE]
    if refused:
        raise ForeignError(
            "; ".join(f"{s.kind} {s.name} on {s.host} {s.verdict.reason}" for s in refused),
            hint="dctl touches only what it made: rename the service, or remove the other",
        )
    # Dependents go before what they need; observed needs tell, names break ties.
    deletions = [s for s in _dependents_first(orphans, there) if s.changes]
    return Plan(cluster, (*deletions, *steps))


def only_of(asked: Sequence[Resource], seen: Iterable[Observed]) -> list[Observed]:
    """What counts for a plan of what was asked for at another time: images are never in the way."""
    wished = {(r.kind, r.name) for r in asked}
    return [o for o in seen if o.kind is not Kind.IMAGE or (o.kind, o.name) in wished]


def _step(asked: Resource, seen: Observed | None, cluster: str) -> Step:
    before = None
    if seen is not None and seen.spec is not None:
        before = dataclasses.replace(asked, spec=seen.spec, ports=seen.ports or asked.ports)
    decided = verdict(asked, seen, cluster)
    return Step(asked.kind, asked.name, asked.host, asked.service, decided, asked, before)


def in_dependency_order(resources: Sequence[Resource]) -> list[Resource]:
    """What is needed comes first; apart from that the order of the spec."""
    by_name = {r.name: r for r in resources}
    graph = {r.name: {n.resource for n in r.needs if n.resource in by_name} for r in resources}
    return [by_name[name] for name in _sorted(graph, [r.name for r in resources])]


def _dependents_first(steps: Sequence[Step], there: dict[tuple[Kind, str], Observed]) -> list[Step]:
    by_name = {s.name: s for s in steps}
    graph = {s.name: {n for n in there[s.kind, s.name].needs if n in by_name} for s in steps}
    return [by_name[name] for name in reversed(_sorted(graph, sorted(by_name)))]


def _sorted(graph: dict[str, set[str]], order: Sequence[str]) -> list[str]:
    """Topological order in which ties keep `order`, so that a plan is the same every time."""
    rank = {name: i for i, name in enumerate(order)}
    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    result: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=rank.__getitem__)
        result += ready
        sorter.done(*ready)
    return result
