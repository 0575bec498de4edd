"""What one copy of a stream lacks and another one has."""

from __future__ import annotations

from array import array

from draft_services.engine.survey import missing


def test_copies_that_are_alike_lack_nothing() -> None:
    assert missing({"a": array("Q", [1, 2, 5]), "b": array("Q", [1, 2, 5])}) == {}


def test_each_copy_is_held_against_all_others() -> None:
    seen = {
        "a": array("Q", [1, 2, 3, 9]),
        "b": array("Q", [1, 3, 9]),
        "c": array("Q", [1, 2, 3]),
    }
    assert missing(seen) == {"b": {2: "a"}, "c": {9: "a"}}


def test_an_empty_copy_lacks_everything() -> None:
    assert missing({"a": array("Q"), "b": array("Q", [4, 7])}) == {"a": {4: "b", 7: "b"}}
