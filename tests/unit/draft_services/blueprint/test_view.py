"""A view over a told store: it never answers for what it may not know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from draft_services.blueprint import view as view_module
from draft_services.blueprint.view import View
from draft_services.engine.errors import Compacted, Unavailable

from tests.support.told import ToldStore, gone, put
from tests.support.waiting import until


@pytest.fixture
def store() -> ToldStore:
    return ToldStore()


@pytest.fixture
async def view(store: ToldStore) -> AsyncIterator[View]:
    made = View(store)  # type: ignore[arg-type]
    follower = asyncio.create_task(made.follow())
    yield made
    follower.cancel()
    await asyncio.gather(follower, return_exceptions=True)


def names(view: View, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key.name for entry in view.select("t", prefix, after=after)]


async def test_it_is_loaded_when_the_feed_has_caught_up(store: ToldStore, view: View) -> None:
    store.tell(put(3, "b"), put(5, "a"), caught_up=False, opened=True)
    await until(lambda: view.revision == 5)
    assert not view._loaded.is_set()
    store.tell(put(9, "c"), revision=12)
    await view.loaded()
    assert view.revision == 12
    assert names(view) == ["a", "b", "c"]
    assert view.history.floor == 12


async def test_selection_is_sorted_by_prefix_and_position(store: ToldStore, view: View) -> None:
    store.tell(*(put(n, name) for n, name in enumerate(["x", "a/2", "a/1", "b", "a"], 1)))
    await view.loaded()
    assert names(view) == ["a", "a/1", "a/2", "b", "x"]
    assert names(view, "a/") == ["a/1", "a/2"]
    assert names(view, "a/", after="a/1") == ["a/2"]
    store.tell(put(6, "a/11"), gone(7, "a/1"))
    await view.reach(7)
    assert names(view, "a/") == ["a/11", "a/2"]


async def test_a_hole_in_the_changes_cuts_the_history(store: ToldStore, view: View) -> None:
    """Whoever stands before a change that nobody saw must not resume over it."""
    store.tell(put(1, "a"), opened=True)
    await view.loaded()
    store.tell(put(2, "a"))
    await view.reach(2)
    store.tell(put(4, "a"), opened=True)
    await view.reach(4)
    with pytest.raises(Compacted):
        view.history.after(2)
    assert [change.revision for change in view.history.after(3)] == [4]
    store.tell(revision=6)  # the last changes are gone as well
    await view.reach(6)
    with pytest.raises(Compacted):
        view.history.after(5)


async def test_current_asks_once_for_all_who_wait_and_again_for_who_comes_later(
    store: ToldStore, view: View
) -> None:
    store.tell(put(1, "a"))
    await view.loaded()
    store.answer.clear()
    early = [asyncio.create_task(view.current()) for _ in range(10)]
    await until(lambda: store.asked == 1)
    late = [asyncio.create_task(view.current()) for _ in range(10)]
    store.answer.set()
    await asyncio.gather(*early, *late)
    assert store.asked == 2


async def test_current_waits_for_what_was_written_before(store: ToldStore, view: View) -> None:
    store.tell(put(1, "a"))
    await view.loaded()
    store.last = 2
    reader = asyncio.create_task(view.current())
    await until(lambda: store.asked == 1)
    assert not reader.done()
    store.tell(put(2, "b"))
    await reader
    assert names(view) == ["a", "b"]


async def test_a_view_that_stays_behind_asks_again_then_refuses(
    store: ToldStore, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view_module, "_LAG", 0.05)
    monkeypatch.setattr(view_module, "_PATIENCE", 0.1)
    store.tell(put(1, "a"))
    await view.loaded()
    store.last = 2
    with pytest.raises(Unavailable, match="at revision 1 of 2"):
        await view.current()
    assert store.reopened == 1


async def test_expiries_missed_while_away_are_looked_for(store: ToldStore, view: View) -> None:
    """The engine decides what has run out, not our clock."""
    now = time.time()
    entries = [put(1, "out", expires=now), put(2, "kept", expires=now), put(3, "plain")]
    store.tell(*entries, opened=True)
    await view.loaded()
    kept = entries[1].entry
    assert kept is not None
    store.kept[kept.key] = kept
    store.tell(revision=3, opened=True)
    await until(lambda: names(view) == ["kept", "plain"])
    assert [change.key.name for change in view.history.after(3)] == ["out"]


async def test_names_are_in_order_and_entries_in_that_of_their_revisions_whatever_comes(
    store: ToldStore, view: View
) -> None:
    store.tell(put(1, "b"), put(2, "a"), put(3, "d", kind="u"))
    await view.reach(3)
    assert names(view) == ["a", "b"]
    store.tell(put(4, "c"), put(5, "b"), gone(6, "a"), put(7, "aa"))
    await view.reach(7)
    assert names(view) == ["aa", "b", "c"]
    assert [entry.revision for entry in view.in_order("t", "")] == [4, 5, 7]
    assert [entry.revision for entry in view.in_order("", "")] == [3, 4, 5, 7]
    assert [entry.revision for entry in view.in_order("t", "b")] == [5]
    assert view.count == 4


async def test_it_counts_what_it_holds(store: ToldStore, view: View) -> None:
    store.tell(put(1, "a"), put(2, "b"), put(3, "a"))
    await view.reach(3)
    assert (view.count, view.bytes) == (2, 2 * len("t" + "a"))
    store.tell(gone(4, "a"), gone(5, "nobody"))
    await view.reach(5)
    assert (view.count, view.bytes) == (1, len("t" + "b"))
