"""Blueprint under very many random faults: how soon all clients are answered again after each, and
whether all that they saw can be.

The faults are those of tests/support/faults.py: one of three engines or two Blueprints is killed,
stands still or is cut off, or a link between two is cut, where this machine can do that. They come
in batches, each with keys of its own and a history that is judged when it ends: judging takes ever
longer the longer a history is. A history that cannot be ends the run.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from benchmarks.figures import Figure
from tests.support.faults import Fault, Judged, cluster_for_faults, history_under_faults
from tests.support.links import no_links

ROUNDS = 1000
_BATCH = 5


def under_faults(rounds: int, seed: int) -> list[Figure]:
    """So many faults, drawn from a seed; 0: from a new one, which is told."""
    chance = random.Random(seed := seed or random.randrange(1, 1 << 32))
    _say(f"seed {seed}, {rounds} rounds")
    if why := no_links():
        _say(f"NO LINK IS CUT: {why}")
    began, judged = time.monotonic(), list[Judged]()
    with (
        tempfile.TemporaryDirectory(prefix="draft-bench-") as folder,
        cluster_for_faults(Path(folder)) as cluster,
    ):
        for at in range(0, rounds, _BATCH):
            drawn, some = chance.randrange(1, 1 << 32), min(_BATCH, rounds - at)
            _say(
                f"{at} of {rounds} rounds, load {os.getloadavg()[0]:.1f}; seed of the batch {drawn}"
            )
            one = history_under_faults(cluster, drawn, some, f"{at}/", _say)
            judged.append(asyncio.run(one))
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in sorted((f for one in judged for f in one.faults), key=lambda f: f.kind):
        kinds[fault.kind].append(fault)
    what = f"{rounds} faults (seed {seed})"
    return [
        Figure(f"{what}: all of them", time.monotonic() - began, "s"),
        Figure(f"{what}: histories, each of which has an order", len(judged), ""),
        Figure(f"{what}: operations judged", sum(one.operations for one in judged), ""),
        Figure(f"{what}: of them never answered", sum(one.unsure for one in judged), ""),
        Figure(f"{what}: counts, none lost or twice", sum(one.counted for one in judged), ""),
        *(figure for kind in kinds.items() for figure in _recovery(*kind)),
    ]


def _recovery(kind: str, faults: list[Fault]) -> list[Figure]:
    """From the fault (its end, where it has one) until every client was answered."""
    times = [fault.recovery for fault in faults]
    what = f"{kind}, {len(times)} times: all are answered after"
    return [
        Figure(f"{what}, least", min(times), "s"),
        Figure(f"{what}, median", statistics.median(times), "s"),
        Figure(f"{what}, most", max(times), "s"),
    ]


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
