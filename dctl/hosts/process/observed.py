"""Manifest, run, exit and supervisor's word of one process, judged together. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dctl.hosts.base import Endpoint, Kind, Observed, State
from dctl.hosts.process.records import WITH_SUPERVISOR, Exit, Manifest, Run, completed
from dctl.hosts.process.supervisor import (
    BACKOFF,
    EXITED,
    FATAL,
    RUNNING,
    STARTING,
    STOPPING,
)


def observed(
    name: str,
    asked: Manifest | None,
    run: Run | None,
    ended: Exit | None,
    info: Mapping[str, Any] | None,
    *,
    host: str,
    owner: str,
) -> Observed:
    """One process as it is. `asked` is None for an orphan; `info` is None when supervisor does
    not know it, or does not run."""
    current = run is not None and info is not None and info["pid"] and run["pid"] == info["pid"]
    state = _state(asked, run, ended, info, current=bool(current))
    # What it runs with; for what does not run, what it would be started with.
    described = run["asked"] if run and (current or asked is None) else asked
    alive = state in (State.RUNNING, State.STARTING)
    ending = info is not None and info["state"] == STOPPING
    return Observed(
        kind=Kind.PROCESS,
        name=name,
        host=host,
        state=state,
        owner=owner,
        service=described["service"] if described else "",
        spec=described["spec"] if described else None,
        ports=_ports(described) if described else {},
        pid=info["pid"] if info and (alive or ending) else 0,
        started=run["started"] if run and alive else 0.0,
        restarts=run["restarts"] if run else 0,
        last_exit=_last_exit(run, ended, info, state),
        needs=tuple(described["needs"]) if described else (),
    )


def _state(
    asked: Manifest | None,
    run: Run | None,
    ended: Exit | None,
    info: Mapping[str, Any] | None,
    *,
    current: bool,
) -> State:
    said = info["state"] if info else None
    if said in (STARTING, RUNNING):
        # Until the shim has become the program, it only starts.
        return State.RUNNING if current and run and not run["waiting"] else State.STARTING
    if said == BACKOFF:
        return State.STARTING
    if asked is not None and asked["held"]:
        return State.HELD
    if asked is not None and completed(asked, run, ended):
        return State.COMPLETED
    if said == EXITED and asked is not None:
        return _after(asked["spec"]["restart"]["when"], ok=ended is not None and ended["ok"])
    return State.FAILED if said == FATAL else State.STOPPED


def _after(restart: str, *, ok: bool) -> State:
    """The state of what ended by itself, and is not the job's last word."""
    if restart == "always" or (restart == "on-failure" and not ok):
        return State.STARTING  # supervisor starts it again within a second
    return State.STOPPED if ok else State.FAILED


def _last_exit(
    run: Run | None, ended: Exit | None, info: Mapping[str, Any] | None, state: State
) -> str:
    if info and info["state"] in (BACKOFF, FATAL):
        return str(info["spawnerr"])
    if ended is not None:
        return ended["text"]
    if info is None and run is not None and state is State.STOPPED:
        return WITH_SUPERVISOR
    return run["last_exit"] if run else ""


def _ports(asked: Manifest) -> dict[str, Endpoint]:
    return {name: Endpoint(host, port) for name, (host, port) in asked["ports"].items()}
