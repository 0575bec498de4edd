"""Processes that take a lock again and again, and what they wrote down about it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.services import ROOT


class Line(NamedTuple):
    """`enter`, `leave` or `lost`; who, with which token, and when."""

    what: str
    name: str
    token: int
    time: float


def read(file: Path) -> list[Line]:
    """What they wrote so far."""
    lines = file.read_text().splitlines() if file.exists() else []
    cut = [line.split() for line in lines]
    return [Line(what, name, int(token), float(time)) for what, name, token, time in cut]


@contextlib.contextmanager
def working(blueprint: str, file: Path, ttl: float, seed: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that takes the lock again and again."""
    command = (sys.executable, "-m", "tests.support.lock_worker")
    process = subprocess.Popen(
        [*command, blueprint, "lock", str(ttl), str(file), seed],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
