"""The apply lock and the journal."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from dctl.errors import LockedError
from dctl.hosts.process.survivors import identity
from dctl.hosts.state import journal
from dctl.hosts.state.lock import exclusive


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
