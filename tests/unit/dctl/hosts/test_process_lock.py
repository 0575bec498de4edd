"""The apply lock and the journal."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dctl.errors import LockedError
from dctl.hosts.base import Holder
from dctl.hosts.process.survivors import identity
from dctl.hosts.state import journal, lock
from dctl.hosts.state.lock import exclusive
from tests.support.waiting import wait_until


def test_the_second_is_refused_and_told_who_has_the_lock(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "lock", "ann@laptop", "shop"),
        pytest.raises(LockedError, match=r"shop .* ann@laptop \(pid \d+\) since \d\d:"),
        exclusive(tmp_path / "lock", "bob@laptop", "shop"),
    ):
        pass
    with exclusive(tmp_path / "lock", "bob@laptop", "shop"):
        pass


def test_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, time\n"
        "from dctl.hosts.state.lock import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1]), 'child', 'shop'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            with pytest.raises(LockedError, match="child"), exclusive(tmp_path / "lock", "me", "s"):
                pass
        finally:
            child.kill()
    with exclusive(tmp_path / "lock", "me", "shop"):
        pass


def test_who_has_the_lock_is_told_without_disturbing_them(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock.holder(path) is None
    with exclusive(path, "ann@laptop", "shop") as lease:
        held = lock.holder(path)
        assert held is not None
        assert (held.name, held.pid) == ("ann@laptop", os.getpid())
        assert lease.lost() == ""
    assert lock.holder(path) is None


def test_a_lock_that_is_taken_away_is_free_and_its_holder_knows(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, "ann@laptop", "shop") as ann:
        lock.release(path)
        assert "taken away" in ann.lost()
        with exclusive(path, "bob@laptop", "shop") as bob:
            assert bob.lost() == ""
            assert "taken away" in ann.lost()
    with exclusive(path, "eve@laptop", "shop"):
        pass


def test_the_end_of_a_robbed_holder_does_not_free_the_lock_of_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    robbed = exclusive(path, "ann@laptop", "shop")
    robbed.__enter__()
    lock.release(path)
    with exclusive(path, "bob@laptop", "shop"):
        robbed.__exit__(None, None, None)
        held = lock.holder(path)
        assert held is not None
        assert held.name == "bob@laptop"


def test_whoever_is_silent_for_too_long_loses_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    with exclusive(path, "frozen", "shop") as frozen:
        monkeypatch.setattr(lock, "TTL", -1.0)  # any silence is too long
        with exclusive(path, "bob@laptop", "shop"):
            assert frozen.lost()


def test_a_holder_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT", 0.01)
    path = tmp_path / "lock"
    with exclusive(path, "ann@laptop", "shop"):
        first = path.read_text()
        wait_until(lambda: path.read_text() != first)


def test_of_many_that_rob_a_silent_holder_one_has_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    inside, most = [0], [0]
    counting = threading.Lock()

    def rob(name: str) -> None:
        with exclusive(path, name, "shop"):
            with counting:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            both.wait()
            with counting:
                inside[0] -= 1

    both = threading.Event()
    with exclusive(path, "frozen", "shop"):
        silent = lock._said

        def said(descriptor: int) -> Holder:
            held = silent(descriptor)
            long_ago = held.silent + (2 * lock.TTL if held.name == "frozen" else 0.0)
            return dataclasses.replace(held, silent=long_ago)

        monkeypatch.setattr(lock, "_said", said)
        with ThreadPoolExecutor(8) as pool:
            robbing = [pool.submit(rob, f"robber-{n}") for n in range(8)]
            wait_until(lambda: sum(job.done() for job in robbing) == 7)
            both.set()
    assert most[0] == 1
    assert sum(isinstance(job.exception(), LockedError) for job in robbing) == 7


def test_the_lock_file_may_be_removed_under_the_lock(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", "me", "shop"):
        (tmp_path / "lock").unlink()
    with exclusive(tmp_path / "lock", "me", "shop"):
        assert (tmp_path / "lock").exists()


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    assert journal.entries(path) == []
    for i in range(3):
        journal.append(path, {"i": i, "text": "ü"})
    assert [entry["i"] for entry in journal.entries(path)] == [0, 1, 2]


def test_an_entry_cut_off_by_a_crash_spoils_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.jsonl"
    journal.append(path, {"i": 0})
    with path.open("a") as file:
        file.write('{"i": 1')
    journal.append(path, {"i": 2})
    with caplog.at_level(logging.WARNING):
        assert [entry["i"] for entry in journal.entries(path)] == [0, 2]
    assert "journal.jsonl:2" in caplog.text


def test_of_a_long_journal_the_older_half_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_LARGEST", 1000)
    path = tmp_path / "journal.jsonl"
    for i in range(200):
        journal.append(path, {"i": i})
        assert path.stat().st_size <= 1000
    kept = [entry["i"] for entry in journal.entries(path)]
    assert kept == list(range(kept[0], 200))
    assert len(kept) > 20
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_identity_tells_processes_apart_and_ends_with_them() -> None:
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as two:
        try:
            seen = identity(one.pid)
            assert seen
            assert identity(one.pid) == seen
        finally:
            one.kill()
            two.kill()
    assert identity(one.pid) == ""
