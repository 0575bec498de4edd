"""What would make an apply fail and can be known before anything starts: taken ports."""

from __future__ import annotations

from collections.abc import Mapping

from dctl.engine.plan import Plan
from dctl.engine.verdict import Action
from dctl.hosts.base import Observed, Reader, State


def preflight(plan: Plan, readers: Mapping[str, Reader]) -> list[str]:
    """One sentence for each port that the plan needs and somebody else holds."""
    problems = []
    there = {name: reader.observe() for name, reader in readers.items() if _needs_ports(plan, name)}
    ours = {
        (name, endpoint.port)
        for name, things in there.items()
        for seen in things
        if _listens(seen)
        for endpoint in seen.ports.values()
    }
    # What was asked to end gives its port up soon: who takes its place waits for that.
    ending = {(name, seen.pid) for name, things in there.items() for seen in things if seen.pid}
    for step in plan.changed:
        if step.resource is None or step.verdict.action is Action.DELETE:
            continue
        for port, endpoint in step.resource.ports.items():
            if (step.host, endpoint.port) in ours:
                continue
            owner = readers[step.host].port_owner(endpoint)
            if owner and (step.host, owner.pid) not in ending:
                problems.append(
                    f"{step.name} on {step.host} needs port {endpoint.port} ({port}), which is"
                    f" held by {owner.name} (pid {owner.pid})"
                )
    return problems


def _needs_ports(plan: Plan, host: str) -> bool:
    return any(s.host == host and s.resource and s.resource.ports for s in plan.changed)


def _listens(seen: Observed) -> bool:
    # What of ours is starting or running gives its port up, or keeps it, when it is changed.
    return seen.state in (State.RUNNING, State.STARTING)
