"""What is decided of manifests, runs and exits."""

from __future__ import annotations

import pytest

from dctl.hosts.base import State
from dctl.hosts.order import waves
from dctl.hosts.process.observed import observed
from dctl.hosts.process.records import (
    STABLE,
    WITH_SUPERVISOR,
    Exit,
    Manifest,
    Run,
    completed,
    exit_text,
    follow,
)
from dctl.hosts.process.spec import ProcessSpec
from dctl.hosts.process.supervisor import BACKOFF, EXITED, FATAL, RUNNING, STOPPED, STOPPING

FAILED = Exit(text="exit status 1", ok=False)
DONE = Exit(text="exit status 0", ok=True)


def manifest(
    name: str = "a-1",
    restart: str = "on-failure",
    *,
    held: bool = False,
    needs: tuple[str, ...] = (),
) -> Manifest:
    spec = ProcessSpec(("run",), restart=restart, backoff=(1, 8)).to_json()  # type: ignore[arg-type]
    return Manifest(
        name=name,
        service="a",
        needs=list(needs),
        ports={"grpc": ("127.0.0.1", 9000)},
        spec=spec,
        digest=restart,
        held=held,
    )


def run(asked: Manifest, *, pid: int = 7, waiting: bool = False, restarts: int = 0) -> Run:
    made, _ = follow(asked, None, None, now=100.0)
    return {**made, "pid": pid, "waiting": waiting, "restarts": restarts}


def info(state: int, pid: int = 0) -> dict[str, object]:
    return {"state": state, "pid": pid, "spawnerr": "no such file"}


def test_the_first_run_begins_at_once_and_counts_nothing() -> None:
    first, delay = follow(manifest(), None, None, now=5.0)
    assert (first["restarts"], first["last_exit"], delay) == (0, "", 0.0)


def test_back_off_doubles_from_min_to_max() -> None:
    asked = manifest()
    last: Run | None = None
    delays = []
    for _ in range(7):
        last, delay = follow(asked, last, FAILED, now=0.0)
        delays.append(delay)
    assert delays == [0, 1, 2, 4, 8, 8, 8]
    assert last is not None
    assert last["restarts"] == 6


def test_a_stable_run_is_followed_at_once_and_back_off_begins_anew() -> None:
    asked = manifest()
    crashed, _ = follow(asked, run(asked), FAILED, now=101.0)
    crashed = {**crashed, "started": 200.0}
    after, delay = follow(asked, crashed, FAILED, now=200.0 + STABLE)
    assert (after["streak"], delay, after["restarts"]) == (0, 0.0, 2)


def test_a_wait_is_no_stable_run() -> None:
    asked = manifest()
    _, delay = follow(asked, run(asked, waiting=True), FAILED, now=1000.0)
    assert delay == 1


def test_years_of_crashes_do_not_overflow() -> None:
    asked = manifest()
    _, delay = follow(asked, {**run(asked), "streak": 10**6}, FAILED, now=100.0)
    assert delay == 8


def test_a_run_without_exit_ended_with_its_supervisor() -> None:
    asked = manifest()
    after, _ = follow(asked, run(asked), None, now=101.0)
    assert after["last_exit"] == WITH_SUPERVISOR


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit status 0"), (7, "exit status 7"), (-9, "killed by SIGKILL")],
)
def test_an_exit_is_told_in_words(status: int, text: str) -> None:
    assert exit_text(status) == text


def test_a_job_is_completed_by_success_of_what_is_asked_now() -> None:
    asked = manifest(restart="never")
    assert completed(asked, run(asked), DONE)
    assert not completed(asked, run(asked), FAILED)
    assert not completed(asked, run(asked), None)
    assert not completed({**asked, "digest": "newer"}, run(asked), DONE)
    always = manifest(restart="always")
    assert not completed(always, run(always), DONE)


@pytest.mark.parametrize(
    ("asked", "before", "ended", "said", "state"),
    [
        (manifest(), run(manifest()), None, info(RUNNING, 7), State.RUNNING),
        # the shim waits out its back-off, or has not spoken yet
        (manifest(), run(manifest(), waiting=True), FAILED, info(RUNNING, 7), State.STARTING),
        (manifest(), run(manifest(), pid=6), FAILED, info(RUNNING, 7), State.STARTING),
        (manifest(), None, None, info(RUNNING, 7), State.STARTING),
        (manifest(), None, None, info(BACKOFF), State.STARTING),
        (manifest(), None, None, info(FATAL), State.FAILED),
        (manifest(), run(manifest()), None, info(STOPPED), State.STOPPED),
        (manifest(), run(manifest()), None, info(STOPPING, 7), State.STOPPED),
        (manifest(), run(manifest()), None, None, State.STOPPED),
        (manifest(held=True), run(manifest()), None, info(STOPPED), State.HELD),
        (manifest(held=True), None, None, None, State.HELD),
        (manifest(), run(manifest()), FAILED, info(EXITED), State.STARTING),
        (manifest(), run(manifest()), DONE, info(EXITED), State.COMPLETED),
        (manifest(), run(manifest()), DONE, None, State.COMPLETED),
        (manifest(restart="never"), run(manifest()), FAILED, info(EXITED), State.FAILED),
        (manifest(restart="always"), run(manifest()), DONE, info(EXITED), State.STARTING),
        # done, but something newer is asked by now
        (manifest(restart="never"), run(manifest()), DONE, info(EXITED), State.STOPPED),
    ],
)
def test_the_state_of_a_process(
    asked: Manifest,
    before: Run | None,
    ended: Exit | None,
    said: dict[str, object] | None,
    state: State,
) -> None:
    seen = observed("a-1", asked, before, ended, said, host="local", owner="shop")
    assert seen.state is state


def test_of_one_that_is_ending_it_is_known_which_process_it_is() -> None:
    for said, pid in ((info(STOPPING, 7), 7), (info(STOPPED), 0), (info(RUNNING, 7), 7)):
        seen = observed("a-1", manifest(), run(manifest()), None, said, host="h", owner="c")
        assert seen.pid == pid


def test_what_runs_is_described_as_it_was_started_not_as_it_is_asked() -> None:
    newer = manifest(restart="always")
    running = observed("a-1", newer, run(manifest()), None, info(RUNNING, 7), host="h", owner="c")
    assert running.spec == manifest()["spec"]
    stopped = observed("a-1", newer, run(manifest()), None, info(STOPPED), host="h", owner="c")
    assert stopped.spec == newer["spec"]


def test_an_orphan_is_described_by_its_run() -> None:
    seen = observed("a-1", None, run(manifest()), None, info(RUNNING, 7), host="h", owner="c")
    assert (seen.service, seen.owner, seen.pid) == ("a", "c", 7)


def test_things_end_before_what_they_need() -> None:
    asked = {
        "db": manifest("db"),
        "api": manifest("api", needs=("db",)),
        "job": manifest("job", needs=("db", "gone")),
        "web": manifest("web", needs=("api",)),
    }
    needs = {name: one["needs"] for name, one in asked.items()}
    assert waves(needs) == [["job", "web"], ["api"], ["db"]]


def test_a_circle_of_needs_ends_together() -> None:
    assert waves({"a": ["b"], "b": ["a"]}) == [["a", "b"]]
