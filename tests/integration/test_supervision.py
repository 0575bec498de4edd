"""What ends is brought back: after a program's end, and after any single kill -9."""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest

from dctl.errors import UnreachableError
from dctl.hosts.base import State
from dctl.hosts.process import rpc
from tests.support.processes import FOREVER, Cluster, alive, cluster, home, kill, terminate
from tests.support.waiting import wait_until

QUICK = (0.05, 0.4)


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with home(monkeypatch) as folder, cluster(folder) as made:
        yield made


# A program's end


def test_a_killed_program_is_back_and_only_it(shop: Cluster) -> None:
    shop.ensure("a-1", backoff=QUICK)
    shop.ensure("b-1")
    before = shop.pids()
    kill(before["a-1"])
    after = shop.await_restart("a-1", before["a-1"])
    assert (after.restarts, after.last_exit) == (1, "killed by SIGKILL")
    assert shop.pids()["b-1"] == before["b-1"]
    log = (shop.state / "logs" / ".supervisord.log").read_text().splitlines()
    exited = next(i for i, line in enumerate(log) if "exited: a-1" in line)
    assert when(log[exited + 1]) - when(log[exited]) < timedelta(seconds=0.5)
    assert "spawned: 'a-1'" in log[exited + 1]


def when(line: str) -> datetime:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f")


def test_back_off_grows_and_it_is_never_given_up(shop: Cluster) -> None:
    stamp = "import time; print(time.time(), flush=True); raise SystemExit(3)"
    shop.ensure("a-1", sys.executable, "-c", stamp, backoff=(0.1, 10))
    wait_until(lambda: len(shop.log("a-1")) == 6, within=30)
    times = [float(line) for line in shop.log("a-1")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for gap, least in zip(gaps, [0.1, 0.2, 0.4, 0.8, 1.6], strict=True):
        assert gap >= least
    seen = shop.seen("a-1")
    assert seen.restarts >= 5
    assert seen.last_exit == "exit status 3"
    shop.await_state("a-1", State.STARTING)


def test_a_program_that_cannot_be_run_says_so_in_its_log(shop: Cluster) -> None:
    shop.ensure("a-1", "/no/such/program")
    wait_until(lambda: shop.seen("a-1").last_exit == "exit status 127")
    assert "cannot run /no/such/program: No such file" in shop.log("a-1")[0]
    shop.ensure("b-1", "true", cwd="/no/such/folder")
    wait_until(lambda: shop.seen("b-1").last_exit == "exit status 126")
    assert "/no/such/folder" in shop.log("b-1")[0]


def test_a_job_ends_once_whatever_happens_to_its_supervisor(shop: Cluster) -> None:
    shop.ensure("job-1", "sh", "-c", "echo ran", restart="never")
    shop.ensure("a-1", backoff=QUICK)
    shop.await_state("job-1", State.COMPLETED)
    before = shop.seen("a-1").pid
    kill(shop.one("supervisord"))
    shop.await_restart("a-1", before)
    shop.await_state("job-1", State.COMPLETED)
    shop.host.start("job-1")
    shop.host.down()
    assert shop.states() == {"a-1": State.STOPPED, "job-1": State.COMPLETED}
    assert shop.log("job-1") == ["ran"]
    shop.host.restart("job-1")
    wait_until(lambda: shop.log("job-1") == ["ran", "ran"])


def test_a_job_that_failed_is_failed_and_can_be_started_again(shop: Cluster) -> None:
    shop.ensure("job-1", "sh", "-c", "exit 4", restart="never")
    seen = shop.await_state("job-1", State.FAILED)
    assert (seen.last_exit, seen.restarts) == ("exit status 4", 0)
    shop.host.start("job-1")
    shop.await_state("job-1", State.FAILED)


def test_on_failure_leaves_success_alone_and_always_does_not(shop: Cluster) -> None:
    shop.ensure("a-1", "true", restart="on-failure")
    shop.ensure("b-1", "true", restart="always", backoff=QUICK)
    shop.await_state("a-1", State.COMPLETED)
    wait_until(lambda: shop.seen("b-1").restarts >= 2)


def test_a_program_is_stopped_while_it_crashes_over_and_over(shop: Cluster) -> None:
    shop.ensure("a-1", "false", backoff=(0.01, 0.01))
    wait_until(lambda: shop.seen("a-1").restarts >= 2)
    shop.host.stop("a-1")
    held = shop.seen("a-1")
    assert (held.state, held.last_exit) == (State.HELD, "exit status 1")
    assert not any(" shim " in command for command in shop.everyone().values())


def test_what_a_dead_leader_left_is_ended_before_the_next_run(shop: Cluster) -> None:
    """Else it would still hold the port that the next run needs."""
    shop.ensure("a-1", "sh", "-c", "sleep 999 & echo started; wait", backoff=QUICK)
    wait_until(lambda: shop.log("a-1") == ["started"])
    leader = shop.seen("a-1").pid
    (child,) = psutil.Process(leader).children()
    kill(leader)
    shop.await_restart("a-1", leader)
    assert not alive(child)


# The supervisor's end


@pytest.mark.parametrize("victim", ["supervisord", "keeper"])
def test_any_single_kill_of_what_supervises_heals(shop: Cluster, victim: str) -> None:
    shop.ensure("a-1", backoff=QUICK)
    shop.ensure("b-1", backoff=QUICK)
    shop.host.stop("b-1")
    for _ in range(2):
        supervisord, keeper, program = shop.one("supervisord"), shop.one("keeper"), shop.seen("a-1")
        killed = shop.one(victim)
        kill(killed)
        wait_until(lambda k=killed: shop.one(victim) not in (0, k), within=20)  # type: ignore[misc]
        if victim == "supervisord":
            after = shop.await_restart("a-1", program.pid)
            assert after.last_exit == "killed along with its supervisor"
            wait_until(lambda k=keeper: shop.one("keeper") not in (0, k), within=20)  # type: ignore[misc]
        else:
            assert shop.one("supervisord") == supervisord
            assert shop.seen("a-1").pid == program.pid
        assert shop.seen("b-1").state is State.HELD
        sleeping = [c for c in shop.everyone().values() if c.startswith("sleep")]
        assert sleeping == ["sleep 1000"]


def test_survivors_of_a_supervisor_are_ended_before_it_is_back(shop: Cluster) -> None:
    script = "(sleep 888 & wait) & exec sleep 1000"
    shop.ensure("a-1", "sh", "-c", script, backoff=QUICK)
    wait_until(lambda: len([c for c in shop.everyone().values() if "888" in c]) == 2)
    before = set(shop.everyone())
    program = shop.seen("a-1").pid
    kill(supervisord := shop.one("supervisord"))
    before -= {shop.one("keeper")}
    wait_until(lambda: shop.one("supervisord") not in (0, supervisord), within=20)
    assert not before & set(shop.everyone())
    shop.await_restart("a-1", program)


def test_both_at_once_are_healed_by_the_next_start(shop: Cluster) -> None:
    shop.ensure("a-1")
    before = shop.seen("a-1").pid
    keeper = shop.one("keeper")
    os.kill(keeper, signal.SIGSTOP)  # it cannot act in between
    kill(shop.one("supervisord"))
    kill(keeper)
    wait_until(lambda: not psutil.pid_exists(before) or not alive(psutil.Process(before)))
    assert shop.seen("a-1").state is State.STOPPED
    assert shop.seen("a-1").last_exit == "killed along with its supervisor"
    shop.host.start("a-1")
    assert shop.seen("a-1").state is State.RUNNING
    assert len([c for c in shop.everyone().values() if c.startswith("sleep")]) == 1


def test_an_orderly_end_of_the_supervisor_is_not_revived(shop: Cluster) -> None:
    shop.ensure("a-1")
    supervisord, keeper = shop.one("supervisord"), psutil.Process(shop.one("keeper"))
    terminate(supervisord)
    wait_until(lambda: shop.everyone() == {}, within=20)
    assert not alive(keeper)
    assert shop.seen("a-1").state is State.STOPPED


def test_an_end_that_is_meant_stays_the_end_when_it_is_cut_short(shop: Cluster) -> None:
    script = "trap 'echo ending; sleep 1; exit' TERM; echo ready; while :; do sleep 0.05; done"
    shop.ensure("a-1", "sh", "-c", script)
    wait_until(lambda: shop.log("a-1") == ["ready"])
    supervisord = shop.one("supervisord")
    with ThreadPoolExecutor(1) as pool:
        down = pool.submit(shop.host.down)
        wait_until(lambda: "ending" in shop.log("a-1"))
        kill(supervisord)
        down.result(timeout=30)
    assert shop.everyone() == {}
    assert shop.seen("a-1").state is State.STOPPED


def test_there_is_never_a_second_supervisor(shop: Cluster) -> None:
    from dctl.hosts.process.launch import LaunchError, launch
    from dctl.hosts.process.layout import Layout

    shop.ensure("a-1")
    before = shop.pids()
    with pytest.raises(LaunchError, match="another supervisord"):
        launch(Layout(shop.state))
    assert shop.pids() == before


def test_a_supervisor_whose_socket_was_removed_is_replaced(shop: Cluster) -> None:
    shop.ensure("a-1", *FOREVER)
    first = shop.one("supervisord")
    (shop.state / "run" / "supervisord.sock").unlink()
    assert shop.seen("a-1").state is State.STOPPED
    shop.host.start("a-1")
    assert shop.seen("a-1").state is State.RUNNING
    assert shop.one("supervisord") != first
    assert len([c for c in shop.everyone().values() if c.startswith("sleep")]) == 1


def test_a_supervisor_that_does_not_answer_is_named(
    shop: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ensure("a-1")
    monkeypatch.setattr(rpc.call, "__kwdefaults__", {"timeout": 0.2})
    os.kill(shop.one("supervisord"), signal.SIGSTOP)
    try:
        with pytest.raises(UnreachableError, match="supervisord on local does not answer"):
            shop.reader.observe()
    finally:
        os.kill(shop.one("supervisord"), signal.SIGCONT)


def test_a_log_takes_bounded_space(shop: Cluster) -> None:
    loud = "import sys\nfor i in range(60): sys.stdout.write(f'{i:03}' + 'x' * 2**20 + '\\n')"
    shop.ensure("a-1", sys.executable, "-c", loud, restart="never")
    shop.await_state("a-1", State.COMPLETED)
    files: list[Path] = sorted((shop.state / "logs").glob("a-1.log*"))
    assert len(files) == 4
    assert sum(path.stat().st_size for path in files) < 50 * 2**20
    assert shop.log("a-1")[-1].startswith("059")
