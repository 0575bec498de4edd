"""Whose turn it is, by what is heard of a lock and of those who wait for it."""

from typing import Any, cast

from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb

from chassis.contest import Contest, Want, packed, patience


def test_a_waiter_lets_those_before_it_go_first() -> None:
    assert patience(5, ends=None, free_since=5, ahead=0) == 0
    assert patience(5, ends=None, free_since=5, ahead=1) > 0
    assert patience(5, ends=None, free_since=5, ahead=1) < patience(
        5, ends=None, free_since=5, ahead=2
    )
    assert patience(9, ends=None, free_since=5, ahead=3) == 0


def test_a_waiter_trusts_no_silence_for_ever() -> None:
    assert patience(5, ends=10, free_since=5, ahead=0) > 5
    assert patience(12, ends=10, free_since=5, ahead=9) == 0


async def test_a_place_is_when_somebody_began_to_wait_and_not_when_it_last_said_so() -> None:
    contest = Contest(cast("Any", None), Want("deploy", 30, "me", "here", "mine"))
    contest._place = 5
    for attempt, place, revision in (
        ("before", 3, 9),  # said so again
        ("just-before", 0, 4),
        ("behind", 7, 8),
        ("mine", 5, 5),
        ("prod/of-another-lock", 0, 1),
    ):
        waiter = packed(models.LockWaiter(place=place))
        kind = pb.WatchEvent.KIND_PUT
        contest._heard_waiter(
            pb.WatchEvent(kind=kind, key=f"deploy/{attempt}", value=waiter, revision=revision)
        )
    assert contest._ahead() == 2
    contest._heard_waiter(pb.WatchEvent(kind=pb.WatchEvent.KIND_DELETE, key="deploy/before"))
    assert contest._ahead() == 1


async def test_who_has_no_place_yet_comes_after_all() -> None:
    contest = Contest(cast("Any", None), Want("deploy", 30, "me", "here"))
    for attempt in ("a", "b"):
        contest._heard_waiter(
            pb.WatchEvent(kind=pb.WatchEvent.KIND_PUT, key=f"deploy/{attempt}", revision=2)
        )
    assert contest._ahead() == 2
