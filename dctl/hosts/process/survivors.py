"""Who still runs of this cluster, though nobody supervises it any more.

A supervisord that is killed leaves its children's children behind, and a leader that dies leaves
the rest of its group. Each process is started with a mark in its environment, which all that it
starts inherits, whatever session they move to; on Linux that finds them all. Elsewhere (no
/proc) only the recorded leaders are found.

Used by the shim too: standard library only, and light.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from dctl.hosts.process.layout import SUPERVISORD, Layout
from dctl.hosts.state.files import read_json

MARK = "DCTL_PROCESS"
_PROC = Path("/proc")
_PATIENCE = 3.0  # seconds from SIGTERM to SIGKILL
_ROUNDS = 5
_LOOK = 0.02  # seconds between two looks whether they are gone


def identity(pid: int) -> str:
    """Which process has this pid now, so that a reused pid is told apart; "" for none."""
    try:
        # After the last ")", for a program's name may hold anything; field 22 is the start time
        # in ticks since the boot, which is named as well.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX":
            return ""
        return f"{fields[19]}@{(_PROC / 'sys/kernel/random/boot_id').read_text().strip()}"
    except (FileNotFoundError, ProcessLookupError):
        return "" if _PROC.joinpath("self").exists() else _identity_by_ps(pid)


def _identity_by_ps(pid: int) -> str:
    import subprocess  # here, for the shim shall not pay for it where /proc is

    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    stat, _, started = done.stdout.strip().partition(" ")
    return "" if stat.startswith("Z") else started.strip()


def mark(layout: Layout, name: str) -> str:
    """The value of MARK for one instance."""
    return str(layout.files(name))


def find(layout: Layout, name: str = "") -> dict[int, str]:
    """pid -> identity of all that runs of instance `name`, or of the cluster."""
    wanted = mark(layout, name) if name else f"{layout.files('_').parent}{os.sep}"
    found = _marked(wanted, whole=bool(name)) | _recorded(layout, name)
    found.pop(os.getpid(), None)
    return found


def end(found: Mapping[int, str], *numbers: signal.Signals) -> None:
    """End them: politely, then for good."""
    left = dict(found)
    for number in numbers or (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            _signal(pid, number)
        deadline = time.monotonic() + _PATIENCE
        while left := {pid: who for pid, who in left.items() if identity(pid) == who}:
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK)


def end_all(layout: Layout) -> None:
    """End everything of the cluster, whatever supervises it included.

    supervisord goes first and at once: asked politely, it would bring the others back meanwhile.
    """
    end(find(layout, SUPERVISORD), signal.SIGKILL)
    for _ in range(_ROUNDS):  # what was just being started is found in the next round
        found = find(layout)
        if not found:
            return
        end(found)


def _marked(wanted: str, *, whole: bool) -> dict[int, str]:
    key = f"\0{MARK}={wanted}".encode() + (b"\0" if whole else b"")
    found = {}
    for folder in _PROC.glob("[0-9]*") if _PROC.is_dir() else ():
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:  # it ended meanwhile, or is another user's
            continue
        if key in b"\0" + environment + b"\0" and (who := identity(int(folder.name))):
            found[int(folder.name)] = who
    return found


def _recorded(layout: Layout, name: str) -> dict[int, str]:
    found = {}
    for path in [layout.running(name)] if name else layout.run.glob("*.run.json"):
        run = read_json(path)
        if run and run["identity"] and identity(run["pid"]) == run["identity"]:
            found[int(run["pid"])] = str(run["identity"])
    return found


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # gone by itself: what we wanted
        os.kill(pid, number)
