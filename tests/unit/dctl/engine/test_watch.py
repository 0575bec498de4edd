"""Keeping a cluster as it was asked for, with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from dctl.engine.apply import Event, Result
from dctl.engine.change import Intent, change
from dctl.engine.history import Record, Release, history, next_number
from dctl.engine.plan import Plan, make_plan
from dctl.engine.records import entry
from dctl.engine.sight import Sight
from dctl.engine.verdict import Action
from dctl.engine.watch import (
    LONGEST,
    Healed,
    Note,
    Patience,
    Told,
    Unhealed,
    restricted,
    watch,
)
from dctl.errors import UnreachableError
from dctl.hosts.base import Check, Kind, Need, Observed, Resource, State
from dctl.hosts.fake import FakeHost


def part(name: str, *needs: str, argv: str = "a") -> Resource:
    check = Check("tcp", name, start=10, interval=0.01, retries=1)
    service = name.rpartition("-")[0]
    return Resource(
        Kind.PROCESS, name, "local", service, {"argv": [argv]}, needs=tuple(map(Need, needs)),
        check=check,
    )  # fmt: skip


ASKED = [part("a-1"), part("b-1", "a-1")]


class Shop:
    """A cluster on a fake host, as a watch sees it."""

    name = "shop"

    def __init__(self) -> None:
        self.host = FakeHost("shop")
        self.apply(ASKED)
        self.host.calls.clear()

    def look(self) -> Sight:
        return Sight(self.host.observe())

    def history(self) -> list[Record]:
        return history(self.host.journal(), self.host.holder())

    def releases(self) -> list[Release]:
        return [Release.from_json(release) for release in self.host.releases()]

    def heal(
        self,
        decide: Callable[[Sight], Plan],
        *,
        on_event: Callable[[Event], None],
        halt: Callable[[], str],
    ) -> Result:
        intent = Intent("heal", keep=False)
        hosts = {"local": self.host}
        return change(
            intent, hosts, self.host, lambda: decide(self.look()), on_event=on_event, halt=halt
        )

    def apply(self, asked: Sequence[Resource]) -> Result:
        plan = make_plan("shop", asked, self.look())
        return change(Intent("apply"), {"local": self.host}, self.host, lambda: plan)


class Turns:
    """Stops a watch after its turns, and does one thing before each; time passes in between."""

    def __init__(self, *before: Callable[[], object], seconds: float = 5.0) -> None:
        self.before = [*before]
        self.now = 0.0
        self.seconds = seconds
        self.over = False
        self.advance()

    def advance(self) -> None:
        if self.before:
            self.before.pop(0)()
        else:
            self.over = True

    def is_set(self) -> bool:
        return self.over

    def wait(self, timeout: float) -> bool:
        self.now += self.seconds
        self.advance()
        return self.over


def run(shop: Shop, *before: Callable[[], object], seconds: float = 5.0) -> list[Note]:
    """A turn of the watch after each of `before`."""
    notes: list[Note] = []
    turns = Turns(nothing, *before, seconds=seconds)
    watch(shop, ASKED, every=5.0, stop=turns, tell=notes.append, clock=lambda: turns.now)
    return notes


def nothing() -> None: ...


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_while_all_is_well_nothing_is_done_and_nothing_said(shop: Shop) -> None:
    entries = len(shop.host.journal())
    assert run(shop, nothing, nothing) == []
    assert shop.host.calls == []
    assert len(shop.host.journal()) == entries


def test_what_ended_is_healed_with_one_note_and_in_the_history(shop: Shop) -> None:
    (note,) = run(shop, lambda: shop.host.crash("b-1"), nothing)
    assert isinstance(note, Healed)
    assert (note.step.name, note.step.verdict.action) == ("b-1", Action.HEAL)
    assert [(r.what, r.result) for r in shop.history()] == [("apply", "ok"), ("heal", "ok")]
    assert len(shop.releases()) == 1


def test_a_foreign_edit_is_undone(shop: Shop) -> None:
    (note,) = run(shop, lambda: shop.host.ensure(part("b-1", "a-1", argv="z")))
    assert isinstance(note, Healed)
    assert not make_plan("shop", ASKED, shop.look()).changed


def test_what_does_not_get_well_is_tried_less_and_less_often(shop: Shop) -> None:
    def break_it() -> None:
        shop.host.broken["b-1"] = "disk full"
        shop.host.crash("b-1")

    notes = run(shop, break_it, *[nothing] * 30)
    tries = [note for note in notes if isinstance(note, Unhealed)]
    assert [note.again for note in tries] == [5.0, 10.0, 20.0, 40.0, 80.0]
    assert shop.host.calls.count("start b-1") == 5


def test_what_gets_well_and_ends_again_and_again_is_left_alone_for_longer_too(shop: Shop) -> None:
    notes = run(shop, *[lambda: shop.host.crash("b-1")] * 20)
    assert 3 <= len(notes) <= 5
    assert all(isinstance(note, Healed) for note in notes)


def test_the_healthy_parts_are_healed_while_another_is_left_alone(shop: Shop) -> None:
    def break_b() -> None:
        shop.host.broken["b-1"] = "disk full"
        shop.host.crash("b-1")

    notes = run(shop, break_b, lambda: shop.host.crash("a-1"), seconds=2.0)
    assert [type(note) for note in notes] == [Unhealed, Healed]


def test_what_was_stopped_on_purpose_stays_so(shop: Shop) -> None:
    assert run(shop, lambda: shop.host.stop("b-1"), nothing) == []


def test_while_somebody_else_has_the_lock_it_waits(shop: Shop) -> None:
    lock = shop.host.lock("ann@laptop")

    def begin() -> None:
        lock.__enter__()
        shop.host.crash("b-1")

    notes = run(shop, begin, lambda: lock.__exit__(None, None, None))
    assert [type(note) for note in notes] == [Healed]


def test_what_somebody_else_applied_is_followed(shop: Shop) -> None:
    new = [part("a-1"), part("b-1", "a-1", argv="new")]
    notes = run(shop, lambda: shop.apply(new), lambda: shop.host.crash("b-1"))
    assert isinstance(notes[0], Told)
    assert "following apply 2" in notes[0].text
    assert not make_plan("shop", new, shop.look()).changed


def test_what_somebody_else_left_half_done_is_not_undone(shop: Shop) -> None:
    def fail() -> None:
        shop.host.broken["c-1"] = "no such file"
        shop.apply([part("a-1", argv="new"), part("b-1", "a-1"), part("c-1", "a-1")])
        shop.host.calls.clear()

    notes = run(shop, fail, nothing, nothing)
    (note,) = notes
    assert isinstance(note, Told)
    assert "done in part" in note.text
    assert shop.host.calls == []


@pytest.mark.parametrize("how", ["down", "destroy"])
def test_when_the_cluster_is_taken_down_the_watch_ends(shop: Shop, how: str) -> None:
    def take_down() -> None:
        shop.host.record(entry(how, next_number(shop.host.journal())))
        shop.host.down()

    notes = run(shop, take_down, *[nothing] * 3)
    (note,) = notes
    assert isinstance(note, Told)
    assert "the watch ends" in note.text
    assert {o.state for o in shop.look().things} == {State.STOPPED}


def test_when_the_cluster_is_cleaned_away_it_does_not_come_back(shop: Shop) -> None:
    notes = run(shop, lambda: shop.host.clean(full=True), nothing)
    assert len(notes) == 1
    assert shop.look().things == []


def test_a_host_that_does_not_answer_is_told_once_and_waited_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        def observe() -> list[Observed]:
            raise UnreachableError("edge-1 does not answer")

        monkeypatch.setattr(shop.host, "observe", observe)

    def back() -> None:
        monkeypatch.undo()
        shop.host.crash("b-1")

    notes = run(shop, away, nothing, nothing, back)
    assert [type(note) for note in notes] == [Told, Healed]


def test_told_to_end_it_begins_no_further_step_and_frees_the_lock(shop: Shop) -> None:
    notes: list[Note] = []
    turns = Turns(nothing)
    shop.host.crash("a-1")
    shop.host.crash("b-1")
    start = shop.host.start

    def start_and_end(name: str) -> None:
        start(name)
        turns.over = True

    shop.host.start = start_and_end  # type: ignore[method-assign]
    watch(shop, ASKED, every=5.0, stop=turns, tell=notes.append, clock=lambda: turns.now)
    assert shop.host.calls == ["start a-1"]
    assert shop.host.holder() is None
    assert shop.history()[-1].result == "interrupted"


def test_between_two_turns_the_lock_is_free(shop: Shop) -> None:
    seen: list[object] = []

    @contextmanager
    def free() -> Iterator[None]:
        with shop.host.lock("ann@laptop"):
            yield

    def take() -> None:
        with free():
            seen.append(shop.host.holder())

    run(shop, lambda: shop.host.crash("b-1"), take, take)
    assert len(seen) == 2


def test_patience_doubles_is_bounded_and_forgets_what_has_been_well() -> None:
    patience = Patience(5.0)
    assert patience.due("a-1", 0.0)
    for _ in range(100):
        patience.tried("a-1", 0.0)
    assert patience.delay("a-1") == LONGEST
    assert not patience.due("a-1", LONGEST - 1)
    assert patience.due("a-1", LONGEST)
    patience.look({"a-1"}, 10 * LONGEST)
    assert patience.delay("a-1") == LONGEST
    patience.look(set(), 10 * LONGEST)
    assert patience.delay("a-1") == 0.0


def test_what_needs_a_thing_that_is_left_alone_is_left_alone_too() -> None:
    asked = [part("a-1"), part("b-1", "a-1"), part("c-1", "b-1"), part("d-1")]
    plan = make_plan("shop", asked, Sight())
    chosen = restricted(plan, lambda name: name != "a-1")
    assert [step.name for step in chosen.steps] == ["d-1"]


def test_what_a_thing_needs_is_waited_for_and_nothing_else_is() -> None:
    host = FakeHost("shop")
    asked = [part("a-1"), part("b-1", "a-1"), part("c-1")]
    for resource in (asked[0], asked[2]):
        host.ensure(resource)
    plan = make_plan("shop", asked, Sight(host.observe()))
    chosen = restricted(plan, lambda name: True)
    assert [(s.name, s.changes) for s in chosen.steps] == [("a-1", False), ("b-1", True)]
