"""A history tells every change after a revision, or says that it cannot."""

from __future__ import annotations

import pytest
from draft_services.blueprint.history import History
from draft_services.engine.errors import Compacted
from draft_services.engine.store import Change, Entry, Key

KEY = Key("t", "k")


def change(revision: int, size: int = 0) -> Change:
    return Change(KEY, revision, Entry(KEY, b"x" * size, revision))


def revisions(history: History, after: int) -> list[int]:
    return [each.revision for each in history.after(after)]


def test_it_tells_what_comes_after() -> None:
    history = History()
    for revision in (1, 2, 5):
        history.append(change(revision))
    assert revisions(history, 0) == [1, 2, 5]
    assert revisions(history, 2) == [5]
    assert revisions(history, 3) == [5]
    assert revisions(history, 5) == []


def test_a_cut_ends_whoever_stands_before_it() -> None:
    history = History()
    for revision in (1, 2, 4):
        history.append(change(revision))
    history.cut(3)
    with pytest.raises(Compacted):
        history.after(2)
    assert revisions(history, 3) == [4]


@pytest.mark.parametrize(("count", "size"), [(11, 0), (5, 400)])
def test_limits_forget_the_oldest_and_say_so(count: int, size: int) -> None:
    history = History(max_changes=10, max_bytes=3400)
    for revision in range(1, count + 1):
        history.append(change(revision, size))
    assert history.floor > 0
    assert revisions(history, history.floor) == list(range(history.floor + 1, count + 1))
    with pytest.raises(Compacted):
        history.after(0)
