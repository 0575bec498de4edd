"""A plan of many machines that answer late, made up as in tests/support/many.py."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from pathlib import Path

from benchmarks.figures import Figure, median, wall
from tests.support.many import Many

_HOSTS = (250, 1000)
_LATENCY = 0.05  # seconds for an answer


def of_many(runs: int) -> list[Figure]:
    """Time and memory of a plan that finds nothing to do, and how much faster than the number of
    machines they grow."""
    figures, walls, peaks = [], [], []
    for hosts in _HOSTS:
        with tempfile.TemporaryDirectory(prefix="draft-bench-") as folder:
            many = Many(Path(folder), hosts, latency=_LATENCY)
            many.carry_out(many.plan())
            before = time.process_time()
            walls.append(median(runs, lambda many=many: wall(many.plan)))  # type: ignore[misc]
            spent = (time.process_time() - before) / (runs + 1)
            tracemalloc.start()
            many.plan()
            peaks.append(tracemalloc.get_traced_memory()[1] / (1 << 20))
            tracemalloc.stop()
        what = f"plan of {hosts} machines made up, {_LATENCY * 1000:g} ms away, no changes"
        figures += [
            Figure(f"{what}: wall", walls[-1], "s"),
            Figure(f"{what}: CPU", spent, "s"),
            Figure(f"{what}: memory", peaks[-1], "MB"),
        ]
    times = _HOSTS[1] / _HOSTS[0]
    grown = f"from {_HOSTS[0]} to {_HOSTS[1]} machines, over their number"
    figures.append(Figure(f"growth {grown}: wall", walls[1] / walls[0] / times, "x", 1.0))
    figures.append(Figure(f"growth {grown}: memory", peaks[1] / peaks[0] / times, "x", 1.05))
    return figures
