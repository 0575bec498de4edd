"""Starts supervisord again when it was killed.

supervisord runs it like any other program, and starts it again when it dies; so it takes two
kills at once to bring a cluster down. Its standard input is a pipe that nobody writes to: the end
of that pipe is supervisord's end. An orderly shutdown ends the keeper first, by SIGTERM.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from dctl.hosts.process.layout import Layout

_TRIES = 5
# Its end of our pipe may be closed a moment before it is gone altogether.
_PATIENCE = 2.0
_LOOK = 0.02


def main(argv: Sequence[str]) -> None:
    """Wait for the end of supervisord, end what it left running, start it again."""
    layout = Layout(Path(argv[0]))
    while os.read(0, 1024):
        pass
    # Only now, so that a waiting keeper is small.
    from dctl.hosts.process import survivors
    from dctl.hosts.process.launch import LaunchError, hold_guard, launch

    deadline = time.monotonic() + _PATIENCE
    while (guard := hold_guard(layout)) is None:
        if time.monotonic() > deadline:
            return  # somebody else has started one already, which has a keeper of its own
        time.sleep(_LOOK)
    found = survivors.find(layout)
    survivors.end(found)
    os.close(guard)
    for attempt in range(1, _TRIES + 1):
        try:
            launch(layout)
        except (LaunchError, OSError) as error:
            _log(layout, f"supervisord was killed and does not start again: {error}")
            time.sleep(attempt)
        else:
            _log(layout, f"supervisord was killed: started again, {len(found)} survivors ended")
            return


def _log(layout: Layout, line: str) -> None:
    try:
        with layout.keeper_log.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    except FileNotFoundError:
        pass  # the cluster was removed meanwhile
