"""Measured numbers, and how they are measured."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number, its unit, and the most that it may be (None: told only)."""

    name: str
    value: float
    unit: str
    goal: float | None = None


def median(runs: int, once: Callable[[], float]) -> float:
    """The median of `runs` calls, after one that is not counted."""
    once()
    return statistics.median(once() for _ in range(runs))


def in_turn(runs: int, calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """The median wall time of each, after one that is not counted. They take turns, so that what
    else the machine does meanwhile is the same for all."""
    for call in calls.values():
        call()
    rounds = [{name: wall(call) for name, call in calls.items()} for _ in range(runs)]
    return {name: statistics.median(one[name] for one in rounds) for name in calls}


def wall(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def cpu_of(command: list[str], **where: Any) -> float:
    """CPU seconds, user and system, of one child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, **where)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
