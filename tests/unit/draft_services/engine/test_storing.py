"""Whether the engine stores what it is given, as its answers tell."""

from __future__ import annotations

from draft_services.engine.storing import PATIENCE, Storing


def test_as_long_as_writes_are_acknowledged_all_is_well() -> None:
    storing = Storing()
    assert storing.why_not(0) == ""
    storing.unanswered(1)
    storing.stored()
    storing.unanswered(2)
    assert storing.why_not(2 + PATIENCE - 1) == "", "others may be choosing a leader"


def test_writes_that_nobody_answers_for_longer_than_an_election_say_so() -> None:
    storing = Storing()
    storing.unanswered(100)
    storing.unanswered(110)
    assert "has stored nothing for 15 s" in storing.why_not(100 + PATIENCE)
    storing.stored()
    assert storing.why_not(200) == ""


def test_a_connection_that_broke_says_nothing_of_the_disk() -> None:
    storing = Storing()
    storing.unanswered(100)
    storing.lost()
    storing.unanswered(120)
    assert storing.why_not(100 + PATIENCE) == ""


def test_a_refusal_for_want_of_room_counts_at_once_until_something_is_stored() -> None:
    storing = Storing()
    storing.full("insufficient resources")
    assert storing.why_not(0) == "insufficient resources"
    storing.stored()
    assert storing.why_not(0) == ""
