"""The apply lock: held by one process, and gone with it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dctl.errors import LockedError


@contextmanager
def exclusive(path: Path, holder: str, cluster: str) -> Iterator[None]:
    """Hold the lock, with `holder` as who has it; LockedError names who has it already."""
    descriptor = _take(path, cluster)
    try:
        text = json.dumps({"holder": holder, "pid": os.getpid(), "since": time.time()})
        os.pwrite(descriptor, text.encode(), 0)
        yield
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _take(path: Path, cluster: str) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise LockedError(
                f"cluster {cluster} is being changed by {_who(held)}",
                hint="wait until that has ended; the lock goes with its process",
            ) from None
        if _is_still(path, descriptor):
            os.ftruncate(descriptor, 0)
            return descriptor
        os.close(descriptor)  # `clean` removed the file between our two calls


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _who(held: bytes) -> str:
    try:
        said = json.loads(held)
    except ValueError:  # it has the lock, but has not written yet
        return "another dctl"
    since = time.strftime("%H:%M:%S", time.localtime(said["since"]))
    return f"{said['holder']} (pid {said['pid']}) since {since}"
