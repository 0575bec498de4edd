"""Holders of a lock, Blueprint and the engine are killed, by a seed: no two holders overlap.

DRAFT_SEED=7 DRAFT_KILLS=50 make test ARGS="tests/simulation/test_locks.py"
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.locks import Line, read, working
from tests.support.nats import running_nats
from tests.support.services import running_blueprint
from tests.support.waiting import wait_until

TTL = 2.0  # the shortest
SEED = int(os.environ.get("DRAFT_SEED", 7))
KILLS = int(os.environ.get("DRAFT_KILLS", 10))


@pytest.mark.timeout(120 + 20 * KILLS)
def test_holders_never_overlap_and_tokens_grow_whatever_is_killed(tmp_path: Path) -> None:
    print(f"DRAFT_SEED={SEED}")
    rng, file = random.Random(SEED), tmp_path / "log"
    killed: dict[str, float] = {}
    with (
        running_nats(tmp_path / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as blueprint,
        contextlib.ExitStack() as workers,
    ):
        address = blueprint.address

        def work() -> subprocess.Popen[bytes]:
            own = str(rng.random())
            return workers.enter_context(working(address, file, TTL, own))

        alive = [work() for _ in range(3)]
        wait_until(lambda: read(file), within=20)
        for _ in range(KILLS):
            seen = len(read(file))
            match rng.choice(["holder", "holder", "blueprint", "hang", "nats"]):
                case "holder":
                    holder = read(file)[-1].name
                    victim = next(each for each in alive if str(each.pid) == holder)
                    victim.kill()
                    victim.wait()
                    killed[holder] = time.monotonic()
                    alive.remove(victim)
                    alive.append(work())
                case "hang":
                    blueprint.signal(signal.SIGSTOP)
                    wait_until(lambda: read(file)[-1].what != "enter", within=10)
                    blueprint.signal(signal.SIGCONT)
                case which:
                    part = blueprint if which == "blueprint" else nats
                    part.kill()
                    if rng.random() < 0.5:  # long enough for the holder to lose it
                        wait_until(lambda: read(file)[-1].what != "enter", within=10)
                    part.start()
            wait_until(lambda count=seen: len(read(file)) >= count + 3, within=40)  # type: ignore[misc]
    check(read(file), killed)


def check(lines: list[Line], killed: dict[str, float]) -> None:
    """Nobody enters before the one before has left, by whatever way; tokens only grow."""
    holder: Line | None = None
    token = 0
    for line in lines:
        if line.what == "enter":
            if holder is not None:  # then it was killed, before this
                assert killed.get(holder.name, float("inf")) < line.time, (holder, line)
            assert line.token > token, line
            token, holder = line.token, line
        else:
            assert holder is not None, line
            assert (holder.name, holder.token) == (line.name, line.token), (holder, line)
            holder = None
    assert sum(line.what == "enter" for line in lines) > KILLS
