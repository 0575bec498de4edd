"""Replicas that move from one host to another.

As a rule what moves ends before it begins: on its old host it goes first, as all deletions do.
Start-first it is the other way round. A service that has a stand-in is served by that while its
replicas move in their turn: none of them runs twice, for its two processes would take the
registry's entry from each other. One that is not registered runs on both hosts until all of it, its
routes too, stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from dctl.engine.step import Role, Step
from dctl.engine.verdict import Action, Verdict
from dctl.hosts.base import Key, Observed, Rollout, key_of


def told_to_move(deletions: Sequence[Step], parts: Sequence[Step]) -> list[Step]:
    """The deletions; of a replica that moves it is said whereto."""
    there = {step.name: step for step in parts}

    def told(step: Step) -> Step:
        new = there.get(step.name)
        if new is None or new.service != step.service:
            return step
        why = Verdict(step.verdict.action, f"moves to {new.host}")
        return dataclasses.replace(step, verdict=why)

    return [told(step) for step in deletions]


def start_first(steps: Sequence[Step], there: Mapping[Key, Observed]) -> list[Step]:
    """The deletions that need not come first: of replicas that move while their service goes on,
    and have no port that anything needs which comes to their host."""
    new = _beginning(steps)
    wanted = {
        (step.host, port.port)
        for step in new.values()
        if step.changes and step.resource
        for port in step.resource.ports.values()
    }
    return [
        step
        for step in steps
        if step.resource is None
        and step.name in new
        and (_is_served(new[step.name]) or _rollout(new[step.name]).overlap)
        and not any((step.host, p.port) in wanted for p in there[key_of(step)].ports.values())
    ]


def served(moving: Sequence[Step], steps: Sequence[Step]) -> set[str]:
    """The services of what moves for which something stands in meanwhile."""
    new = _beginning(steps)
    return {step.service for step in moving if _is_served(new[step.name])}


def with_moves(
    steps: Sequence[Step], moving: Sequence[Step], stood_in: Collection[str]
) -> list[Step]:
    """The steps, and the end of what is `moving`: before it begins on its new host where its
    service is `stood_in` for, else when all of the service stands."""
    new = _beginning(steps)
    last = {step.service: number for number, step in enumerate(steps)}
    before: dict[str, Step] = {}
    after: dict[int, list[Step]] = {}
    first: list[Step] = []
    for step in moving:
        ending = dataclasses.replace(step, role=Role.MOVING)
        if step.service in stood_in and _is_served(new[step.name]):
            before[step.name] = ending
        elif _rollout(new[step.name]).overlap:
            after.setdefault(last[step.service], []).append(ending)
        else:  # what would stand in is out of the plan's scope
            first.append(step)
    found = first
    for number, step in enumerate(steps):
        if step is new.get(step.name) and step.name in before:
            found.append(before[step.name])
        found += [step, *after.get(number, ())]
    return found


def _beginning(steps: Sequence[Step]) -> dict[str, Step]:
    return {step.name: step for step in steps if step.resource and step.role is Role.PART}


def _is_served(step: Step) -> bool:
    return step.verdict.action is Action.CREATE and _rollout(step).stand_in is not None


def _rollout(step: Step) -> Rollout:
    return (step.resource and step.resource.rollout) or Rollout()
