"""The lock of a cluster: a file that is held open and locked, with a note of who does. Runs on the
machine."""

from __future__ import annotations

import fcntl
import json
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TTL = 60.0  # seconds without a sign of life after which a lock is free


def lock(at: Any, asked: Any) -> Any:
    """Hold the cluster's lock while lines come in; each is answered with "ok", or "lost"."""
    path = at["var"] + "/lock"
    os.makedirs(at["var"], exist_ok=True)
    descriptor = take(at, path)
    if isinstance(descriptor, dict):
        return {"held": descriptor}
    note = {**asked, "began": time.monotonic()}
    beat(descriptor, note)
    print(json.dumps({"held": None}), flush=True)
    while select.select([0], [], [], _TTL)[0] and os.read(0, 4096):
        if not is_still(path, descriptor):
            print(json.dumps("lost"), flush=True)
            sys.exit()
        beat(descriptor, note)
        print(json.dumps("ok"), flush=True)
    os.ftruncate(descriptor, 0)
    sys.exit()


def holder(at: Any, asked: Any) -> Any:
    try:
        descriptor = os.open(at["var"] + "/lock", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return said(descriptor)
    finally:
        os.close(descriptor)
    return None


def break_lock(at: Any, asked: Any) -> Any:
    try:
        descriptor = os.open(at["var"] + "/lock", os.O_RDONLY)
    except FileNotFoundError:
        return True
    evict(at, descriptor)
    os.close(descriptor)
    return True


def take(at: Any, path: Any) -> Any:
    deadline = time.monotonic() + 0.2
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = said(descriptor)
            late = held["silent"] > _TTL
            if late:
                evict(at, descriptor)
            os.close(descriptor)
            if not late and time.monotonic() > deadline:
                return held
            time.sleep(0.01)
            continue
        if is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def evict(at: Any, descriptor: Any) -> Any:
    guard = os.open(at["var"] + "/lock.guard", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(guard, fcntl.LOCK_EX)
    if is_still(at["var"] + "/lock", descriptor):
        os.unlink(at["var"] + "/lock")
    os.close(guard)


def beat(descriptor: Any, note: Any) -> Any:
    text = json.dumps({**note, "beat": time.monotonic()})
    os.pwrite(descriptor, text.ljust(512).encode(), 0)


def said(descriptor: Any) -> Any:
    try:
        held = json.loads(os.pread(descriptor, 512, 0))
        now = time.monotonic()
        held["silent"], held["age"] = now - held["beat"], now - held["began"]
        return held
    except (ValueError, KeyError, TypeError):
        return {"holder": "another dctl", "pid": 0, "silent": 0.0, "age": 0.0}


def is_still(path: Any, descriptor: Any) -> Any:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
