"""What runs where, and how it feels: one row a resource. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dctl.engine.sight import Sight
from dctl.engine.verdict import Action, verdict
from dctl.hosts.base import RUN_FROM, Kind, Observed, Probe, Resource, State, key_of, machine_of

Health = Literal["healthy", "unhealthy", "unknown", "-"]
# Nothing has to run for these to be as they should.
_AT_REST = (State.HELD, State.COMPLETED, State.PRESENT)


@dataclass(frozen=True, slots=True)
class Row:
    """One resource. `desired` is what is wanted: "running", "completed" for a job that ended
    well, "present" for an image, "held" for what was stopped on purpose, "absent" for what the spec
    no longer asks for.
    `actual` is what is: a State, "missing", "changed" when it runs with an older spec, or
    "unknown" when its host does not answer.
    `uptime` in seconds, None when it does not run."""

    name: str
    kind: str
    service: str
    host: str
    desired: str
    actual: str
    health: Health
    uptime: float | None
    address: str
    pid: int | None
    restarts: int
    last_exit: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def well(self) -> bool:
        """As the spec wants it, and not ill."""
        return self.desired == self.actual and self.health in ("healthy", "-")


def status(
    cluster: str,
    asked: Sequence[Resource],
    sight: Sight,
    probes: Mapping[str, Probe],
    *,
    now: float,
) -> list[Row]:
    """Rows in the order of `asked`, orphans last. `probes` by resource name; `now` is
    seconds since the epoch."""
    there = {key_of(o): o for o in sight.things}
    rows = [
        _unseen(r, sight)
        if r.host in sight.unseen
        else _row(cluster, r, there.pop(key_of(r), None), probes, now)
        for r in asked
    ]
    return rows + [_orphan(o, now) for _, o in sorted(there.items()) if o.owner == cluster]


def _row(
    cluster: str, asked: Resource, seen: Observed | None, probes: Mapping[str, Probe], now: float
) -> Row:
    decided = verdict(asked, seen, cluster)
    if seen is None:
        actual = "missing"
    elif decided.action in (Action.UPDATE, Action.REPLACE) and seen.state is State.RUNNING:
        actual = "changed"
    else:
        actual = seen.state.value
    at_rest = seen is not None and seen.state in _AT_REST
    probe = probes.get(asked.name)
    health: Health = "-"
    if asked.kind is Kind.ROUTE:
        health = "healthy" if seen else "unknown"
    elif asked.check is not None and not at_rest:
        health = "unknown" if probe is None else "healthy" if probe.ok else "unhealthy"
    reason = decided.reason or ", ".join(change.field for change in decided.changes)
    if not reason and probe is not None and not probe.ok:
        reason = probe.reason
    return Row(
        name=asked.name,
        kind=asked.kind.value,
        service=asked.service,
        host=asked.host,
        desired=_desired(asked, actual if at_rest else ""),
        actual=actual,
        health=health,
        uptime=_uptime(seen, now),
        address=", ".join(str(e) for e in asked.ports.values()),
        pid=seen.pid or None if seen else None,
        restarts=seen.restarts if seen else 0,
        last_exit=seen.last_exit if seen else "",
        reason=reason,
    )


def _desired(asked: Resource, at_rest: str) -> str:
    if at_rest:
        return at_rest
    return State.PRESENT.value if asked.kind in RUN_FROM else State.RUNNING.value


def _unseen(asked: Resource, sight: Sight) -> Row:
    host = machine_of(asked.host)
    return Row(
        name=asked.name,
        kind=asked.kind.value,
        service=asked.service,
        host=asked.host,
        desired=_desired(asked, ""),
        actual="unknown",
        health="unknown",
        uptime=None,
        address=", ".join(str(e) for e in asked.ports.values()),
        pid=None,
        restarts=0,
        last_exit="",
        reason=sight.silent[host].message,
    )


def _orphan(seen: Observed, now: float) -> Row:
    return Row(
        name=seen.name,
        kind=seen.kind.value,
        service=seen.service,
        host=seen.host,
        desired="absent",
        actual=seen.state.value,
        health="unknown",
        uptime=_uptime(seen, now),
        address=", ".join(str(e) for e in seen.ports.values()),
        pid=seen.pid or None,
        restarts=seen.restarts,
        last_exit=seen.last_exit,
        reason="no longer in the spec",
    )


def _uptime(seen: Observed | None, now: float) -> float | None:
    if seen is None or seen.state is not State.RUNNING or not seen.started:
        return None
    return max(now - seen.started, 0.0)
