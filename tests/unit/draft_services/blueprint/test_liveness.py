"""Silence is judged by an injected clock: late, never early, and never all at once."""

from __future__ import annotations

from draft_services.blueprint.liveness import Liveness, Verdict


def leases(*pids: str) -> Liveness:
    liveness = Liveness(silent=15, gone=60)
    for pid in pids:
        liveness.start(pid, 0)
    return liveness


def test_silence_is_said_once_then_gone() -> None:
    liveness = leases("a")
    assert liveness.due(14.9) == []
    assert liveness.due(15) == [("a", Verdict.SILENT)]
    assert liveness.due(59.9) == []
    assert liveness.due(60) == [("a", Verdict.GONE)]


def test_gone_is_repeated_until_the_process_is_forgotten() -> None:
    liveness = leases("a")
    liveness.due(60)
    assert liveness.due(75) == [("a", Verdict.GONE)]
    liveness.forget("a")
    assert liveness.due(1000) == []
    assert liveness.next() is None


def test_a_beat_moves_the_deadline() -> None:
    liveness = leases("a", "b")
    liveness.heard("a", 10)
    assert liveness.due(15) == [("b", Verdict.SILENT)]
    assert liveness.due(24.9) == []
    assert liveness.due(25) == [("a", Verdict.SILENT)]


def test_who_comes_back_can_fall_silent_again() -> None:
    liveness = leases("a")
    liveness.due(15)
    liveness.heard("a", 50)
    assert liveness.due(60) == []
    assert liveness.due(65) == [("a", Verdict.SILENT)]


def test_a_restart_gives_everybody_a_whole_lease() -> None:
    """Lost lease state is never a mass expiry."""
    pids = [str(number) for number in range(100)]
    liveness = leases(*pids)
    liveness.restart(59)
    assert liveness.due(73.9) == []
    assert len(liveness.due(74)) == 100


def test_starting_again_does_not_prolong() -> None:
    liveness = leases("a")
    liveness.start("a", 14)
    assert liveness.due(15) == [("a", Verdict.SILENT)]


def test_a_verdict_that_failed_is_said_again() -> None:
    liveness = leases("a")
    assert liveness.due(15) == [("a", Verdict.SILENT)]
    liveness.repeat("a", 15)
    assert liveness.due(16) == [("a", Verdict.SILENT)]


def test_every_process_has_one_deadline_however_often_it_beats() -> None:
    liveness = leases("a")
    for second in range(1, 1000):
        liveness.heard("a", second)
        liveness.due(second)
    assert len(liveness._deadlines) == 1
