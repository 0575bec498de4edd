"""Start one supervisord for a cluster, as dctl and the keeper do it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dctl.hosts.process.layout import SUPERVISORD, Layout
from dctl.hosts.process.survivors import MARK, mark
from dctl.hosts.state.files import private_folder

_SCRIPT = Path(__file__).with_name("supervisord.py")
_PATIENCE = 30.0  # seconds; it takes 0.2 on an idle machine

# What the cluster's processes inherit. All else of the shell that happened to run dctl stays out:
# what runs must not depend on who started it, and secrets of that shell are nobody's business.
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR")
_KEPT_PREFIXES = ("LC_", "XDG_", "SSL_CERT_", "LD_LIBRARY_PATH")


class LaunchError(Exception):
    """supervisord did not start; the text is its own."""


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """The part of an environment that supervisord and its processes get."""
    return {k: v for k, v in of.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}


def hold_guard(layout: Layout) -> int | None:
    """Take the guard of the one supervisord, held until the answer is closed; None when another
    has it. supervisor's own check (does the socket answer?) lets two through that start at once.
    """
    guard = os.open(layout.guard, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(guard)
        return None
    return guard


def launch(layout: Layout) -> None:
    """Start supervisord with the configuration that is there; it listens when this returns."""
    private_folder(Path(layout.socket.read_text()).parent)
    try:
        done = subprocess.run(
            [sys.executable, "-I", str(_SCRIPT), str(layout.state)],
            env={**environment(os.environ), MARK: mark(layout, SUPERVISORD)},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LaunchError(f"it did not start within {_PATIENCE:g}s") from error
    if done.returncode:
        raise LaunchError(done.stdout.strip() or f"exit status {done.returncode}")
