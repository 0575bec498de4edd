"""The apply lock: held by one process, and gone with it.

The system's lock on the file decides: it ends with its process, however that ends. What stands in
the file is for people, and a sign of life: whoever is frozen for too long loses the lock. To take
it from somebody, the file is removed; they hold on to one that nobody else looks at any more, and
see that before their next step.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dctl.errors import LockedError
from dctl.hosts.base import Holder

BEAT = 5.0  # seconds between two signs of life
TTL = 60.0  # seconds without one after which the lock is free
_SIZE = 512  # of what stands in the file, always written at once
# A holder writes down who it is right after it has the lock, and who only looks holds it for a
# moment, too.
_GLANCE = 0.2
_LOOK = 0.01


class FileLease:
    """A lock that is held."""

    def __init__(self, path: Path, descriptor: int, holder: str) -> None:
        self._path = path
        self._descriptor = descriptor
        self._said = {"holder": holder, "pid": os.getpid(), "since": time.time()}

    def lost(self) -> str:
        if _is_still(self._path, self._descriptor):
            return ""
        return (
            "its lock was taken away (dctl infra lock release), or it was frozen for more than"
            f" {TTL:.0f}s"
        )

    def beat(self) -> None:
        """Give a sign of life. The clock is one that stands still while the machine sleeps."""
        text = json.dumps({**self._said, "beat": time.monotonic()})
        os.pwrite(self._descriptor, text.ljust(_SIZE).encode(), 0)


@contextmanager
def exclusive(path: Path, holder: str, cluster: str) -> Iterator[FileLease]:
    """Hold the lock, with `holder` as who has it; LockedError names who has it already."""
    descriptor = _take(path, cluster)
    over = threading.Event()
    lease = FileLease(path, descriptor, holder)

    def live() -> None:
        while not over.wait(BEAT):
            lease.beat()

    beating = threading.Thread(target=live, name="lock", daemon=True)
    try:
        lease.beat()
        beating.start()
        yield lease
    finally:
        over.set()
        if beating.ident:
            beating.join()
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Who has the lock now."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _said(descriptor)
    finally:
        os.close(descriptor)
    return None


def release(path: Path) -> None:
    """Take the lock from whoever has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        _evict(path, descriptor)
    finally:
        os.close(descriptor)


def _take(path: Path, cluster: str) -> int:
    deadline = time.monotonic() + _GLANCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _said(descriptor)
            if held.silent > TTL:
                _evict(path, descriptor)
            os.close(descriptor)
            if held.silent > TTL:
                continue
            if time.monotonic() > deadline:
                raise LockedError(
                    f"cluster {cluster} is being changed by {_named(held)}",
                    hint="wait until that has ended; the lock goes with its process"
                    " (dctl infra lock status)",
                ) from None
            time.sleep(_LOOK)
            continue
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # it was removed between our two calls


def _evict(path: Path, descriptor: int) -> None:
    # One at a time: else a second one would remove the file that the next holder has made since.
    guard = os.open(path.with_name(f"{path.name}.guard"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if _is_still(path, descriptor):
            path.unlink()
    finally:
        os.close(guard)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _said(descriptor: int) -> Holder:
    try:
        said = json.loads(os.pread(descriptor, _SIZE, 0))
        silent = max(time.monotonic() - said["beat"], 0.0)
        return Holder(said["holder"], said["pid"], said["since"], silent)
    except (ValueError, KeyError, TypeError):  # it has the lock, but has not written yet
        return Holder("another dctl", 0, time.time(), 0.0)


def _named(held: Holder) -> str:
    if not held.pid:
        return held.name
    since = time.strftime("%H:%M:%S", time.localtime(held.since))
    return f"{held.name} (pid {held.pid}) since {since}"
