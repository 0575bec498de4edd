"""When a started thing is good enough to go on."""

from dctl.engine.gate import Gate, Opinion, opinion
from dctl.hosts.base import Check, Kind, Observed, Probe, Resource, State

CHECK = Check("tcp", "127.0.0.1:1", interval=1, retries=3, start=10)


def asked(check: Check | None = CHECK) -> Resource:
    return Resource(Kind.PROCESS, "a-1", "local", "a", {}, check=check)


def seen(state: State, *, restarts: int = 0, started: float = 100, last_exit: str = "") -> Observed:
    return Observed(
        Kind.PROCESS,
        "a-1",
        "local",
        state,
        "shop",
        restarts=restarts,
        started=started,
        last_exit=last_exit,
    )


def judge(
    resource: Resource,
    there: Observed | None,
    probe: Probe | None = None,
    *,
    elapsed: float = 1,
    before: int = 0,
    now: float = 101,
) -> Opinion:
    return opinion(resource, there, probe, elapsed=elapsed, restarts_before=before, now=now)


def test_a_good_probe_opens_the_gate() -> None:
    assert judge(asked(), seen(State.RUNNING), Probe(True)).gate is Gate.READY


def test_a_bad_probe_is_waited_for_until_start_and_retries_are_used_up() -> None:
    bad = Probe(False, "connection refused")
    assert judge(asked(), seen(State.RUNNING), bad, elapsed=12.9).gate is Gate.WAITING
    late = judge(asked(), seen(State.RUNNING), bad, elapsed=13)
    assert late == Opinion(Gate.FAILED, "not healthy after 13s: connection refused")


def test_without_a_check_it_has_to_run_for_a_moment() -> None:
    assert judge(asked(None), seen(State.RUNNING), now=100.5).gate is Gate.WAITING
    assert judge(asked(None), seen(State.RUNNING), now=101).gate is Gate.READY


def test_one_restart_is_forgiven_and_two_are_not() -> None:
    once = seen(State.STARTING, restarts=4, last_exit="exit status 1")
    twice = seen(State.STARTING, restarts=5, last_exit="exit status 1")
    assert judge(asked(), once, before=3).gate is Gate.WAITING
    assert judge(asked(), twice, before=3) == Opinion(Gate.FAILED, "exit status 1; started 3 times")


def test_what_its_supervisor_gave_up_fails_at_once_with_its_exit() -> None:
    dead = seen(State.FAILED, last_exit="exit status 2")
    assert judge(asked(), dead, elapsed=0) == Opinion(Gate.FAILED, "exit status 2")


def test_a_job_that_ended_well_is_ready() -> None:
    assert judge(asked(None), seen(State.COMPLETED)).gate is Gate.READY


def test_what_never_appears_is_not_waited_for_forever() -> None:
    assert judge(asked(), None, elapsed=1).gate is Gate.WAITING
    assert judge(asked(), None, elapsed=14).gate is Gate.FAILED
