"""The end of a log, and its continuation over rotation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from dctl.hosts.process import logs
from dctl.hosts.process.logs import follow, tail
from tests.support.waiting import wait_until


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "a-1.log"


def rotate(log: Path, generations: int = 3) -> None:
    """As supervisor does it."""
    for i in range(generations, 1, -1):
        older = log.with_name(f"{log.name}.{i - 1}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{i}"))
    log.replace(log.with_name(f"{log.name}.1"))
    log.touch()


def write(log: Path, *lines: object) -> None:
    with log.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def test_tail_of_nothing_is_nothing(log: Path) -> None:
    assert tail(log, 5) == []
    write(log, "one")
    assert tail(log, 0) == []


def test_tail_reaches_back_into_older_files(log: Path) -> None:
    write(log, 1, 2)
    rotate(log)
    write(log, 3, 4)
    rotate(log)
    write(log, 5)
    assert tail(log, 2) == ["4", "5"]
    assert tail(log, 4) == ["2", "3", "4", "5"]
    assert tail(log, 99) == ["1", "2", "3", "4", "5"]


def test_tail_reads_long_logs_from_their_end(log: Path) -> None:
    write(log, *(f"{i:06} {'x' * 100}" for i in range(5000)))
    assert [line[:6] for line in tail(log, 3)] == ["004997", "004998", "004999"]
    assert len(tail(log, 2000)) == 2000


def test_a_line_that_rotation_cut_is_whole_again(log: Path) -> None:
    log.write_text("1\ncut he")
    rotate(log)
    log.write_text("re\n")
    assert tail(log, 1) == ["cut here"]
    assert tail(log, 2) == ["1", "cut here"]
    Follower(log, 2).expect("1", "cut here")


def test_what_is_no_text_is_shown_all_the_same(log: Path) -> None:
    log.write_bytes(b"caf\xe9\r\n")
    assert tail(log, 1) == ["caf\N{REPLACEMENT CHARACTER}"]


class Follower:
    """Collects what `follow` gives out."""

    def __init__(self, log: Path, lines: int) -> None:
        self.got: list[str] = []
        self._lines: Iterator[str] = follow(log, lines)
        # A daemon: it waits for more when the test is over.
        threading.Thread(target=self._collect, daemon=True).start()

    def _collect(self) -> None:
        for line in self._lines:
            self.got.append(line)

    def expect(self, *lines: object) -> None:
        wait_until(lambda: len(self.got) >= len(lines))
        assert self.got == [str(line) for line in lines]


def test_follow_gives_the_last_lines_and_each_further_one(log: Path) -> None:
    write(log, 1, 2, 3)
    follower = Follower(log, 2)
    follower.expect(2, 3)
    with log.open("a") as file:
        file.write("half")
        file.flush()
        file.write(" and whole\n")
    follower.expect(2, 3, "half and whole")


def test_follow_waits_for_a_log_that_is_not_there_yet(log: Path) -> None:
    follower = Follower(log, 5)
    write(log, "first")
    follower.expect("first")


def test_follow_reads_what_was_written_just_before_a_rotation(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_further = logs._next
    late = iter(["late"])

    def rotated_now(path: Path, file: BinaryIO) -> BinaryIO | None:
        for line in late:
            write(log, line)
            rotate(log)
            write(log, "new")
        return look_further(path, file)

    monkeypatch.setattr(logs, "_next", rotated_now)
    write(log, "first")
    Follower(log, 1).expect("first", "late", "new")


def test_follow_keeps_pace_with_frequent_rotation(log: Path) -> None:
    write(log, "first")
    follower = Follower(log, 1)
    follower.expect("first")
    for i in range(200):
        write(log, i)
        if i % 5 == 4:
            rotate(log)
            # Two rotations behind is what the kept files allow for, and more.
            wait_until(lambda i=i: len(follower.got) >= i - 9)  # type: ignore[misc]
    follower.expect("first", *range(200))


def test_follow_loses_no_line_to_rotation(log: Path) -> None:
    write(log, 0)
    follower = Follower(log, 1)
    follower.expect(0)
    write(log, 1)
    rotate(log)
    write(log, 2)
    rotate(log)
    write(log, 3)
    follower.expect(0, 1, 2, 3)
    write(log, 4)
    follower.expect(0, 1, 2, 3, 4)
