"""What was done, told from the journal, and which release to go back to."""

from __future__ import annotations

from typing import Any

import pytest

from dctl.engine.history import ENDED, Record, Release, history, next_number, target
from dctl.engine.records import entry, resource_from, resource_json
from dctl.errors import NotFoundError
from dctl.hosts.base import Check, Condition, Endpoint, Holder, Kind, Need, Resource, Rollout


def begun(number: int, what: str = "apply", **more: Any) -> dict[str, Any]:
    return {"id": number, "event": what, "time": 100.0 * number, "who": "ann@laptop", **more}


def ended(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "event": ENDED, "time": 100.0 * number + 7, "who": "ann@laptop", **more}


def record(number: int, result: Any = "ok", what: str = "apply", to: int | None = None) -> Record:
    return Record(number, what, 0.0, "ann@laptop", result, {}, to=to)


def release(number: int, of: int | None = None) -> Release:
    return Release(number, 0.0, "ann@laptop", "shop.yaml", "process", (), of)


def test_a_change_is_told_with_its_counts_its_end_and_how_long_it_took() -> None:
    (told,) = history(
        [
            begun(1, steps=["create a-1", "create b-1", "delete c-1"]),
            ended(1, done=["a-1"], failed={"b-1": "disk full"}, not_done=["c-1"]),
        ]
    )
    assert (told.result, told.planned, told.took) == ("partly", {"create": 2, "delete": 1}, 7.0)
    assert (told.done, told.failed, told.not_done) == (("a-1",), {"b-1": "disk full"}, ("c-1",))


@pytest.mark.parametrize(
    ("end", "result"),
    [
        ({}, "ok"),
        ({"failed": {"a-1": "x"}}, "failed"),
        ({"failed": {"a-1": "x"}, "done": ["b-1"]}, "partly"),
        ({"silent": {"edge-1": "frozen"}, "done": ["b-1"]}, "partly"),
        ({"interrupted": True, "done": ["b-1"]}, "interrupted"),
        ({"halted": "its lock was taken away"}, "interrupted"),
    ],
)
def test_how_a_change_ended(end: dict[str, Any], result: str) -> None:
    assert history([begun(1), ended(1, **end)])[0].result == result


def test_a_change_without_an_end_was_cut_off_unless_its_maker_still_has_the_lock() -> None:
    journal = [begun(1), begun(2)]
    assert [r.result for r in history(journal)] == ["cut off", "cut off"]
    at_work = Holder("ann@laptop", 1, 0.0, 0.0)
    assert [r.result for r in history(journal, at_work)] == ["cut off", "running"]


def test_numbers_go_on_where_the_journal_ends() -> None:
    assert next_number([]) == 1
    assert next_number([begun(7), ended(7), begun(8)]) == 9


def test_after_a_good_change_the_way_back_is_to_the_release_before_it() -> None:
    assert target([record(1), record(2)], [release(1), release(2)]).id == 1


def test_asked_again_it_goes_further_back() -> None:
    releases = [release(1), release(2), release(3), release(4, of=2)]
    assert target([record(4, what="rollback", to=2)], releases).id == 1


def test_from_the_oldest_there_is_no_way_back() -> None:
    with pytest.raises(NotFoundError, match="release 1 is the oldest"):
        target([record(1)], [release(1)])
    with pytest.raises(NotFoundError, match="release 1 is the oldest"):
        target([record(3, what="rollback", to=1)], [release(1), release(2), release(3, of=1)])


@pytest.mark.parametrize("result", ["partly", "failed", "cut off", "interrupted"])
def test_after_a_change_that_did_not_go_well_it_is_to_the_newest_release(result: str) -> None:
    assert target([record(2), record(3, result)], [release(1), release(2)]).id == 2


def test_healing_stopping_and_starting_are_no_change_of_what_is_asked_for() -> None:
    records = [record(2), record(3, "failed", what="heal"), record(4, what="stop")]
    assert target(records, [release(1), release(2)]).id == 1


def test_a_rollback_that_did_not_go_well_is_gone_on_with() -> None:
    records = [record(3), record(4, "partly", what="rollback", to=1)]
    assert target(records, [release(1), release(2), release(3)]).id == 1


def test_a_release_can_be_named_and_one_that_is_not_kept_is_named_with_those_that_are() -> None:
    releases = [release(3), release(4)]
    assert target([], releases, 3).id == 3
    with pytest.raises(NotFoundError, match="no release 2; kept are: 3, 4"):
        target([], releases, 2)


def test_without_a_good_change_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(NotFoundError, match="no good release"):
        target([record(1, "failed")], [])


def test_a_resource_comes_back_from_its_json_as_it_was() -> None:
    stand_in = Resource(Kind.PROCESS, "a-next", "local", "a", {"argv": ["a"]})
    whole = Resource(
        Kind.PROCESS,
        "a-1",
        "local",
        "a",
        {"argv": ["a"], "ports": {"main": "127.0.0.1:0"}},
        ports={"main": Endpoint("127.0.0.1", 4000)},
        needs=(Need("b-1", Condition.STARTED),),
        check=Check("exec", argv=("true",), start=3.5),
        rollout=Rollout(2, True, stand_in),
    )
    assert resource_from(resource_json(whole)) == whole
    kept = Release(1, 2.0, "ann@laptop", "shop.yaml", "process", (whole, stand_in))
    assert Release.from_json(kept.to_json()) == kept


def test_no_entry_of_the_journal_tells_a_secret() -> None:
    said = entry(ENDED, 1, failed={"a-1": "cannot open postgres://u:pearl@db/x"}, halted="")
    assert "pearl" not in str(said)
    assert "pearl" not in str(entry(ENDED, 1, failed={"a-1": "flag --token=pearl is wrong"}))
