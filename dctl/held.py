"""A command that runs while a lock of the cluster is held, and not a moment longer.

The lock itself is the chassis's: its holder is cancelled a quarter of the TTL before anybody else
can have the lock. In half of that the command may end by itself; then it is killed. When dctl
itself is killed the command is, too (see `leash`).
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from chassis.clients import connect
from chassis.errors import LockError, LockLostError
from chassis.locks import KEEP, Held, Locks, checked
from dctl import leash
from dctl.clients import Way
from dctl.errors import LockedError, UsageError

TOKEN = "DRAFT_LOCK_TOKEN"
"""The variable in which the command finds its fencing token."""

_GRACE = (1 - KEEP) / 2  # of the TTL, from being asked to end to being killed
_LOOK = 0.02
_ENDED_BY = 128  # what shells add to the number of the signal that ended a command


def run_held(
    blueprint: Way,
    name: str,
    argv: Sequence[str],
    *,
    ttl: float,
    wait: float | None,
) -> int:
    """Run the command under the lock; returns its exit code, as a shell tells it. LockedError when
    the lock is not had within `wait` seconds, or is lost."""
    try:
        checked(name, ttl)
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        return asyncio.run(_run(blueprint, name, argv, ttl, wait))
    except LockLostError as error:
        raise LockedError(f"{error}; {argv[0]} was ended") from error
    except LockError as error:
        raise LockedError(str(error), hint="dctl lock list") from error
    except asyncio.CancelledError:  # by SIGTERM, while it waited
        return _ENDED_BY + signal.SIGTERM


async def _run(way: Way, name: str, argv: Sequence[str], ttl: float, wait: float | None) -> int:
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    who = f"{getpass.getuser()}: {Path(argv[0]).name}"
    prove = (lambda: way.proof) if way.proof else None
    async with connect(way.address, prove, way.secure) as channel:
        locks = Locks(lambda: channel, who)
        async with locks.hold(name, ttl=ttl, wait=wait) as held:
            return await _attend(held, argv, _GRACE * ttl)


async def _attend(held: Held, argv: Sequence[str], grace: float) -> int:
    """Run the command to its end; end it when we are cancelled."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-ISB", leash.__file__, str(os.getpid())),
        *argv,
        env={**os.environ, TOKEN: str(held.token)},
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        loop.add_signal_handler(number, _pass_on, number, child)
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        await _end(child.pid, grace)
        await child.wait()
        raise
    return _ENDED_BY - code if code < 0 else code


def _pass_on(number: signal.Signals, child: asyncio.subprocess.Process) -> None:
    # At a terminal Ctrl-C goes to the command, too, without us.
    if not (number is signal.SIGINT and sys.stdin.isatty()):
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)


async def _end(pid: int, grace: float) -> None:
    """End a process and all that it started: TERM, and KILL for what is there after `grace`."""
    until = asyncio.get_running_loop().time() + grace
    tree = _tree(pid)
    _send(tree, signal.SIGTERM)
    while any(map(_alive, tree)) and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK)  # nobody tells of the end of a grandchild
    _send([*tree, *_tree(pid)], signal.SIGKILL)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            process.send_signal(number)
