"""What a machine told of one instance, judged. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from dctl.hosts.base import Endpoint, Json, Kind, Observed, State
from dctl.hosts.systemd.layout import Layout
from dctl.hosts.systemd.unit import edits, env_of, env_text, limits_of, owner, unit_text

_CPU_STEP = 1e-4  # finer than systemd keeps a quota


def observed(layout: Layout, told: Mapping[str, Any], *, host: str, now: float) -> Observed | None:
    """One instance as it is `now`, by our own clock; None for what another cluster made under a
    name like ours."""
    text, asked, running = told["unit"], told["asked"], told["running"]
    whose = owner(text) if text is not None else layout.cluster
    if whose not in ("", layout.cluster):
        return None
    state = _state(told)
    if whose == "":
        return Observed(Kind.PROCESS, told["name"], host, state, owner="")
    alive = state in (State.RUNNING, State.STARTING)
    # What it runs with; for what does not run, what it would be started with.
    described = running if running and alive else asked
    return Observed(
        kind=Kind.PROCESS,
        name=told["name"],
        host=host,
        state=state,
        owner=layout.cluster,
        service=described["service"] if described else "",
        spec=_spec(layout, told, described) if described and asked else None,
        ports={n: Endpoint(*at) for n, at in described["ports"].items()} if described else {},
        pid=int(told["show"].get("MainPID") or 0) if alive else 0,
        started=now - told["age"] if alive and told["age"] is not None else 0.0,
        restarts=int(told["show"].get("NRestarts") or 0),
        last_exit=_last_exit(told["ended"]),
        needs=tuple(described["needs"]) if described else (),
    )


def _spec(layout: Layout, told: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Json]:
    """What was asked, with what somebody changed on the machine since."""
    asked = told["asked"]
    spec: dict[str, Json] = dict(described["spec"])
    if told["env"] != env_text(asked["spec"]["env"]):
        spec["env"] = env_of(told["env"] or "")
    if told["files"]:
        now = {path: text for path, text in told["files"].items() if text is not None}
        gone = told["files"].keys() - now.keys()
        files = {path: text for path, text in spec["files"].items() if path not in gone}
        spec["files"] = {**files, **now}
    unit: dict[str, Json] = {}
    if told["unit"] is None:
        unit = {"file": "is gone"}
    else:
        unit = dict(edits(told["unit"], unit_text(layout, told["name"], asked)))
        shown = told["show"]
        if added := drop_ins(shown, layout.unit(told["name"])):
            unit["drop-ins"] = added
        elif shown.get("NeedDaemonReload") == "yes":
            unit["loaded"] = "older than its file"
        spec["memory"], cpus = limits_of(shown)
        if spec.get("cpus") is None or cpus is None or abs(cpus - spec["cpus"]) > _CPU_STEP:
            spec["cpus"] = cpus
    return {**spec, "unit": unit} if unit else spec


def drop_ins(shown: Mapping[str, str], unit: str) -> list[str]:
    """What somebody laid over this one unit. What is meant for many units is the machine's."""
    return [path for path in shown.get("DropInPaths", "").split() if f"/{unit}.d/" in path]


def edited(seen: Observed | None) -> Mapping[str, Json]:
    """What somebody changed of a unit: what `observed` adds to a spec as "unit"."""
    found: Mapping[str, Json] = (seen.spec or {}).get("unit", {}) if seen else {}
    return found


def _state(told: Mapping[str, Any]) -> State:
    said, asked, running = told["show"], told["asked"], told["running"]
    active = said.get("ActiveState", "inactive")
    if active in ("active", "reloading"):
        return State.RUNNING
    if active == "activating":
        return State.STARTING
    if asked and asked["held"]:
        return State.HELD
    if active == "failed":
        return State.FAILED
    done = (
        asked is not None
        and running is not None
        and asked["spec"]["restart"]["when"] != "always"
        and asked["digest"] == running["digest"]
        and told["over"]
        and told["ended"] == "exited 0"
        and not told["told"]
    )
    return State.COMPLETED if done else State.STOPPED


def _last_exit(ended: str) -> str:
    """What ExecStopPost= wrote, as "exited 3" or "killed TERM", in our words."""
    code, _, status = ended.partition(" ")
    if code == "exited":
        return f"exit status {status}" if status.isdecimal() else f"exit status: {status}"
    if code in ("killed", "dumped"):
        if status.isdecimal():
            status = signal.Signals(int(status)).name.removeprefix("SIG")
        return f"killed by SIG{status}"
    return ""
