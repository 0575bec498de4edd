"""Goes before each process and then becomes it.

supervisor starts a program again at once and forever, keeps its environment in plain text, and
leaves its children running when it is killed; this is where all three are mended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dctl.hosts.process import survivors
from dctl.hosts.process.layout import Layout
from dctl.hosts.process.records import Exit, Manifest, Run, completed, follow
from dctl.hosts.state.files import read_json, write_json

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CANNOT_RUN = 126  # what shells answer for a program that may not be run, or is not there
_NOT_FOUND = 127
_PAUSE = 1.0  # seconds before a failure of our own ends us: supervisor would spin otherwise


def main(argv: Sequence[str]) -> None:
    """Wait out the back-off, write down what is about to run, and exec it. Never returns."""
    parent = os.getppid()
    layout, name = Layout(Path(argv[0])), argv[1]
    try:
        _die_with(parent, layout)
        asked: Manifest | None = read_json(layout.manifest(name))
        if asked is None:
            sys.exit(f"dctl: {name} is no longer asked for")
        before: Run | None = read_json(layout.running(name))
        ended: Exit | None = read_json(layout.ended(name))
        if completed(asked, before, ended):
            sys.exit(0)  # a job is done once, also when its supervisor comes back
        if before is not None:
            # What the last run started may still hold its ports.
            survivors.end(survivors.find(layout, name))
        run, delay = follow(asked, before, ended, time.time())
        run["pid"], run["identity"] = os.getpid(), survivors.identity(os.getpid())
        if delay:
            run["waiting"] = True
            write_json(layout.running(name), run)
            time.sleep(delay)
        run["waiting"], run["started"] = False, time.time()
        write_json(layout.running(name), run)
        layout.ended(name).unlink(missing_ok=True)
    except OSError as error:
        _say(f"{name} cannot be started: {error}")
        time.sleep(_PAUSE)
        sys.exit(1)
    _refuse_without_secrets(layout, name, asked)
    _become(layout, name, asked)


def _die_with(parent: int, layout: Layout) -> None:
    """Be killed when supervisord is: else a new one would start all of it a second time."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before we asked for that.
    if os.getppid() != parent or layout.pid_file.read_text().strip() != str(parent):
        sys.exit(1)


def _refuse_without_secrets(layout: Layout, name: str, asked: Manifest) -> None:
    """What goes on without its secret may go on without a lock on its door."""
    for secret in asked["spec"].get("digests") or ():
        if not layout.delivered_to(name, secret).is_file():
            _say(f"{name} misses the secret {secret}: dctl infra apply gives it anew")
            sys.exit(_CANNOT_RUN)


def _become(layout: Layout, name: str, asked: Manifest) -> None:
    spec = asked["spec"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SUPERVISOR_")}
    environment |= {survivors.MARK: survivors.mark(layout, name), **spec["env"]}
    command = list(spec["argv"])
    folder = spec["cwd"] or layout.data(name)
    try:
        os.chdir(folder)
    except OSError as error:
        _say(f"{name} cannot work in {folder}: {error.strerror}")
        sys.exit(_CANNOT_RUN)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Python ignores these two, and exec would pass that on.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        _say(f"{name} cannot run {command[0]}: {error.strerror}")
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


def _say(line: str) -> None:
    """Into the process's own log, where its reader looks first."""
    sys.stderr.write(f"dctl: {line}\n")
    sys.stderr.flush()
