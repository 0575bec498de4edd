"""Replicas that need more than half of each other, as the engine's nodes do.

One is exchanged or restarted only while all others are well: a node of the engine says that it is
well once it has caught up. One that is not well itself takes nothing away, and goes first.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from dctl.engine.catalogue.site import encrypts
from dctl.engine.gate import patience
from dctl.engine.step import Step
from dctl.errors import DctlError
from dctl.hosts.base import Key, Observed, Probe, Resource, State, key_of

_AGAIN = 0.1  # seconds between two questions

Ask = Callable[[Resource], Probe]
"""How a resource's health is asked for."""


def needs_the_others(resource: Resource | None) -> bool:
    """Whether it is one of several that need more than half of each other."""
    return bool(resource and resource.rollout and resource.rollout.quorum)


def unwell_first(steps: Sequence[Step], there: Mapping[Key, Observed]) -> list[Step]:
    """The steps, those of replicas that do not run before the others of their service."""

    def runs(step: Step) -> bool:
        return (seen := there.get(key_of(step))) is not None and seen.state is State.RUNNING

    found = list(steps)
    for service in {step.service for step in steps if needs_the_others(step.resource)}:
        places = [at for at, step in enumerate(found) if step.service == service and step.resource]
        for at, step in zip(places, sorted((found[at] for at in places), key=runs), strict=True):
            found[at] = step
    return found


def all_at_once(steps: Sequence[Step], there: Mapping[Key, Observed]) -> list[Step]:
    """The steps; replicas of which some would encrypt and others not are exchanged together, for
    meanwhile they could not speak to each other."""
    return [_together(step, there.get(key_of(step)), len(steps)) for step in steps]


def _together(step: Step, seen: Observed | None, most: int) -> Step:
    asked = step.resource
    if not (seen and seen.spec and asked and asked.rollout and asked.rollout.quorum):
        return step
    if encrypts(seen.spec) == encrypts(asked.spec):
        return step
    rollout = dataclasses.replace(asked.rollout, quorum=False, parallel=most)
    return dataclasses.replace(step, resource=dataclasses.replace(asked, rollout=rollout))


def await_others(own: Resource, others: Sequence[Resource], ask: Ask) -> None:
    """Return once all of the `others` are well, or when `own` is not: then there is nothing to
    lose. Raises DctlError when they do not get well."""
    deadline = time.monotonic() + max(map(patience, others), default=0.0)
    while ill := _ill(others, ask):
        if own.check and not ask(own).ok:
            return
        if time.monotonic() > deadline:
            raise DctlError(
                f"{ill}; {own.name} is left as it is, for together they would take down the rest",
                hint="bring it back first: dctl infra status",
            )
        time.sleep(_AGAIN)


def _ill(others: Sequence[Resource], ask: Ask) -> str:
    """Who is not well, and why, in one sentence; "" when all are."""
    for other in others:
        if other.check and not (probe := ask(other)).ok:
            return f"{other.name} on {other.host} is not well: {probe.reason}"
    return ""
