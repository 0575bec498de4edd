"""One change of a cluster: under its lock, planned once more there, and written down.

The record of its beginning is durable before the first step, so that a change which is killed at
any point leaves a trace; the next one plans from what is there and goes on.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from dctl.engine.apply import Event, Result
from dctl.engine.apply import apply as carry_out
from dctl.engine.catalogue.site import is_for
from dctl.engine.history import ENDED, Release, next_number
from dctl.engine.leaving import Leaving
from dctl.engine.plan import Plan
from dctl.engine.records import entry, resource_from, resource_json, who
from dctl.errors import DctlError
from dctl.hosts.base import RUN_FROM, Host, Json, Resource, key_of


@dataclass(frozen=True, slots=True)
class Intent:
    """What a change is for. `what` is the verb in the history, `to` the release that a rollback
    goes to. Without `keep` a good end leaves no release. `secrets` are kept by name: a text,
    or "" for something random that is made once; `machines` are the notes of the spec's hosts, if
    it is of the spec."""

    what: str
    source: str = ""
    runtime: str = ""
    to: int | None = None
    of: int | None = None
    keep: bool = True
    secrets: Callable[[], Mapping[str, str]] = dict
    machines: Mapping[str, Json] = field(default_factory=dict)


def change(
    intent: Intent,
    hosts: Mapping[str, Host],
    first: Host,
    decide: Callable[[], Plan],
    *,
    on_event: Callable[[Event], None] = lambda _: None,
    halt: Callable[[], str] = lambda: "",
    move: Callable[[Plan, Callable[[], str]], tuple[Plan, Result | None]] | None = None,
    leaving: Leaving | None = None,
) -> Result:
    """Carry out what `decide` plans once the lock is held. Lock, journal and releases are with the
    `first` host. Ends early when the lock is lost, or `halt` gives a reason. Where the engine's
    data have to be moved, `move` does that first, and says what is left, or how it failed; of its
    nodes, `leaving` sees to those that leave."""
    with first.lock(who()) as lease:
        plan = decide()
        number = next_number(first.journal())
        _share(intent.secrets(), plan, hosts, first)
        begun = plan.to_do
        if begun:
            first.record(_begin(intent, number, plan))
            _note(first, {**first.machines(), **intent.machines})
        failed: Result | None = None
        if plan.move and move:
            plan, failed = move(plan, lambda: lease.lost() or halt())
        if leaving:
            leaving.begin(plan)
        result = failed or carry_out(
            plan,
            hosts,
            on_event=on_event,
            halt=lambda: lease.lost() or halt(),
            on_removed=functools.partial(leaving.removed, plan) if leaving else None,
        )
        release = _release(intent, number, plan, first) if result.ok and intent.keep else None
        if result.ok and intent.machines and not plan.scope:
            _let_go(intent.machines, plan, hosts, first)
            result = dataclasses.replace(result, abandoned=plan.gone)
        if begun or not result.ok or release:
            if not begun:
                first.record(_begin(intent, number, plan))
            first.record(entry(ENDED, number, **result.to_json()))
        if leaving and result.ok:
            leaving.end(plan)  # before the books forget who left
        if release:
            first.keep_release(release.to_json())
    return result


def _let_go(
    machines: Mapping[str, Json], plan: Plan, hosts: Mapping[str, Host], first: Host
) -> None:
    """Of hosts that have left, nothing is there any more: not even what supervises it."""
    for name in first.machines().keys() - machines.keys() - plan.gone.keys():
        if name in hosts:
            with suppress(DctlError):  # it was well a moment ago, and has nothing of ours to lose
                hosts[name].down()
    _note(first, machines)


def _note(first: Host, machines: Mapping[str, Json]) -> None:
    if machines != first.machines():
        first.keep_machines(machines)


def _share(secrets: Mapping[str, str], plan: Plan, hosts: Mapping[str, Host], first: Host) -> None:
    """Keep the cluster's secrets, and give them to each host that something is changed on: a new
    value is a change of all who read it. To be for all of them at once, it waits for a plan of the
    whole cluster."""
    for secret, text in secrets.items():
        first.keep_secret(secret, "" if plan.scope and first.secret(secret) else text)
        changed = [step for step in plan.changed if step.resource]
        for name in dict.fromkeys(s.host for s in changed if is_for(secret, s.service)):
            if hosts[name] is not first:
                hosts[name].keep_secret(secret, first.secret(secret))


def _begin(intent: Intent, number: int, plan: Plan) -> dict[str, Any]:
    steps = [f"{step.verdict.action} {step.name}" for step in plan.changed]
    steps += ["move engine"] if plan.move else []
    steps += [f"leave {name}" for name in plan.leaving]
    return entry(intent.what, number, steps=steps, to=intent.to, scope=plan.scope.to_json())


def _release(intent: Intent, number: int, plan: Plan, first: Host) -> Release | None:
    """What is asked for now, unless that is what the newest release has already."""
    kept = first.releases()
    before = [resource_from(value) for value in kept[-1]["resources"]] if kept else []
    resources = tuple(_asked_now(plan, before))
    same = [resource_json(resource) for resource in resources]
    if kept and kept[-1]["resources"] == same:
        return None
    return Release(
        id=number,
        time=time.time(),
        who=who(),
        source=intent.source,
        runtime=intent.runtime,
        resources=resources,
        of=intent.of,
    )


def _asked_now(plan: Plan, before: Sequence[Resource]) -> list[Resource]:
    """All that was asked for. With a scope only what is in it is new: the rest is asked for as it
    was `before`, when it last was well."""
    if not plan.scope:
        return plan.asked
    changed = {key_of(step) for step in plan.steps}
    standing = {key_of(r): r for r in before if not plan.scope.covers(r)}
    found = [r if key_of(r) in changed else standing.pop(key_of(r), None) for r in plan.asked]
    resources = [resource for resource in (*found, *standing.values()) if resource]
    needed = {need.resource for resource in resources for need in resource.needs}
    return [r for r in resources if r.kind not in RUN_FROM or r.name in needed]
