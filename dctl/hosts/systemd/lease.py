"""The apply lock of a cluster, held on its first machine through a connection of its own.

A program there has the lock as long as it hears of us: it ends with the connection, and after a
minute of silence. Whoever takes the lock away removes its file, which the program sees.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dctl.errors import LockedError, UnreachableError
from dctl.hosts.base import Holder
from dctl.hosts.systemd.ask import Agent

BEAT = 5.0  # seconds between two signs of life
_PATIENCE = 20.0  # seconds for an answer


class RemoteLease:
    """The lock while we have it."""

    def __init__(self, child: subprocess.Popen[str], host: str) -> None:
        self._child, self._host = child, host
        self._talking = threading.Lock()
        self._gone = ""

    def lost(self) -> str:
        """Ask there; what is lost stays lost."""
        with self._talking:
            if not self._gone:
                self._gone = self._asked()
            return self._gone

    def _asked(self) -> str:
        try:
            assert self._child.stdin is not None
            self._child.stdin.write("\n")
            self._child.stdin.flush()
            said = answer(self._child)
        except (OSError, ValueError):
            said = None
        if said == "ok":
            return ""
        if said == "lost":
            return "its lock was taken away (dctl infra lock release)"
        return f"the connection to its lock on {self._host} is cut"


@contextmanager
def held(agent: Agent, holder: str) -> Iterator[RemoteLease]:
    """Hold the lock; LockedError names who has it already."""
    child = agent.talk("lock", holder=holder, pid=os.getpid())
    over = threading.Event()
    beating: threading.Thread | None = None
    try:
        said = answer(child)
        if not isinstance(said, dict):
            child.kill()
            why = (child.communicate()[1].strip().splitlines() or ["no answer"])[-1]
            raise UnreachableError(f"the lock on {agent.host} cannot be taken: {why}")
        if other := of_note(said["held"]):
            raise LockedError(
                f"cluster {agent.layout.cluster} is being changed by {_named(other)}",
                hint="wait until that has ended; the lock goes with its process"
                " (dctl infra lock status)",
            )
        lease = RemoteLease(child, agent.host)

        def live() -> None:
            while not over.wait(BEAT):
                lease.lost()

        beating = threading.Thread(target=live, name="lock", daemon=True)
        beating.start()
        yield lease
    finally:
        over.set()
        if beating is not None:
            beating.join()
        end(child)


def end(child: subprocess.Popen[str]) -> None:
    """Close its input, which ends the program there, and wait for that."""
    try:
        child.communicate(timeout=5)
    except (subprocess.TimeoutExpired, ValueError, OSError):
        child.kill()
        child.wait()


def answer(child: subprocess.Popen[str]) -> Any:
    """Its next line, None when it ended or says nothing."""
    assert child.stdout is not None
    if not select.select([child.stdout], [], [], _PATIENCE)[0]:
        return None
    line = child.stdout.readline()
    return json.loads(line) if line else None


def of_note(note: dict[str, Any] | None) -> Holder | None:
    """What stands in the lock's file."""
    if note is None:
        return None
    # By our own clock: the machine's may differ.
    return Holder(note["holder"], note["pid"], time.time() - note["age"], note["silent"])


def _named(holder: Holder) -> str:
    if not holder.pid:
        return holder.name
    since = time.strftime("%H:%M:%S", time.localtime(holder.since))
    return f"{holder.name} (pid {holder.pid}) since {since}"
