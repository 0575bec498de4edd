"""When is a started thing good enough to go on? The decision, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dctl.hosts.base import Observed, Probe, Resource, State

# A thing without a health check counts as healthy once it has run this long (seconds): most
# programs that cannot start (bad flag, missing file, taken port) are dead by then.
SETTLE = 1.0
# Ends in a row before we stop waiting: one may be bad luck (a database not up yet), two are not.
MAX_RESTARTS = 2


class Gate(StrEnum):
    """The three answers."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Opinion:
    """The answer, and why in one sentence when it is not ready."""

    gate: Gate
    reason: str = ""


def opinion(
    asked: Resource,
    seen: Observed | None,
    probe: Probe | None,
    *,
    elapsed: float,
    restarts_before: int,
    now: float,
) -> Opinion:
    """Judge one resource `elapsed` seconds after it was started (or first looked at).

    `probe` is the newest answer of its health check, None while there is none. `restarts_before`
    is the count when the wait began. `now` is seconds since the epoch.
    """
    if seen is None:
        return _until(asked, elapsed, "it is not there")
    crashes = seen.restarts - restarts_before
    if seen.state is State.FAILED:
        return Opinion(Gate.FAILED, seen.last_exit or "it does not start")
    if crashes >= MAX_RESTARTS:
        return Opinion(Gate.FAILED, f"{seen.last_exit or 'it ended'}; started {crashes + 1} times")
    if seen.state is State.COMPLETED:
        return Opinion(Gate.READY)
    if seen.state is not State.RUNNING:
        return _until(asked, elapsed, f"it is {seen.state}" + _because(seen.last_exit))
    if asked.check is None:
        return Opinion(Gate.READY if now - seen.started >= SETTLE else Gate.WAITING)
    if probe is not None and probe.ok:
        return Opinion(Gate.READY)
    return _until(asked, elapsed, probe.reason if probe else "its health is not known yet")


def relapse(
    asked: Resource,
    seen: Observed | None,
    probe: Probe | None,
    *,
    ill: int,
    restarts_before: int,
) -> str:
    """Why what was good enough is no longer, in one sentence; "" while it is.

    `ill` is how many probes in a row answered badly; as always, `retries` of them are too many.
    """
    if seen is None:
        return "it was well, then it was gone"
    ended = seen.restarts > restarts_before
    if ended or seen.state not in (State.RUNNING, State.HELD, State.COMPLETED):
        return f"it was well, then it ended{_because(seen.last_exit)}"
    if asked.check and probe and ill >= asked.check.retries:
        return f"it was well, then unhealthy: {probe.reason}"
    return ""


def patience(asked: Resource) -> float:
    """How long a resource may take to become healthy, in seconds."""
    check = asked.check
    return check.start + check.retries * check.interval if check else 30.0


def _until(asked: Resource, elapsed: float, reason: str) -> Opinion:
    if elapsed < patience(asked):
        return Opinion(Gate.WAITING, reason)
    return Opinion(Gate.FAILED, f"not healthy after {elapsed:.0f}s: {reason}")


def _because(text: str) -> str:
    return f" ({text})" if text else ""
