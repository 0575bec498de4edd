"""What is written down of one process, and the decisions made of it. Pure.

A *manifest* says what was asked, a *run* what the newest run was started with, an *exit* how that
run ended without being asked to: it exists from the end of a run to the beginning of the next.
dctl writes manifests, the shim writes runs, supervisord's own process writes exits.

Imported by the shim too, so it stays light.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

# A run this long (seconds) was no failed start: the next one follows at once, and back-off begins
# anew. Longer than the slowest start-up of the core parts, shorter than a person's patience.
STABLE = 10.0


class Manifest(TypedDict):
    """What was asked of one process."""

    name: str
    service: str
    needs: list[str]
    ports: dict[str, tuple[str, int]]
    spec: Mapping[str, Any]
    digest: str
    held: bool


class Run(TypedDict):
    """One run. `pid` is the shim's and stays the program's; `waiting` while it backs off."""

    pid: int
    identity: str
    waiting: bool
    started: float
    restarts: int
    streak: int
    last_exit: str
    asked: Manifest


class Exit(TypedDict):
    """How a run ended that nobody asked to end."""

    text: str
    ok: bool
    at: NotRequired[float]


WITH_SUPERVISOR = "killed along with its supervisor"
"""The end of a run of which there is no exit."""


def follow(
    asked: Manifest, before: Run | None, ended: Exit | None, now: float
) -> tuple[Run, float]:
    """The next run after `before`, and how long (seconds) to wait before it begins.

    A stop, start or change by the user leaves no `before`: only restarts that nobody asked for
    are counted.
    """
    run = Run(
        pid=0,
        identity="",
        waiting=False,
        started=now,
        restarts=0,
        streak=0,
        last_exit="",
        asked=asked,
    )
    if before is None:
        return run, 0.0
    run["restarts"] = before["restarts"] + 1
    run["last_exit"] = ended["text"] if ended else WITH_SUPERVISOR
    if not before["waiting"] and now - before["started"] >= STABLE:
        return run, 0.0
    run["streak"] = before["streak"] + 1
    policy = asked["spec"]["restart"]
    # The exponent is bounded so that years of crashing do not overflow a float.
    return run, min(policy["min"] * 2.0 ** min(run["streak"] - 1, 60), policy["max"])


def completed(asked: Manifest, run: Run | None, ended: Exit | None) -> bool:
    """A job that ended with success, and was not asked for anew since."""
    return (
        run is not None
        and ended is not None
        and ended["ok"]
        and asked["spec"]["restart"]["when"] != "always"
        and run["asked"]["digest"] == asked["digest"]
    )


def exit_text(status: int) -> str:
    """A wait status in words."""
    if status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {status}"
