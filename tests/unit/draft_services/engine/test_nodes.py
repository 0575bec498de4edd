"""Which node speaks for a stream."""

from __future__ import annotations

import pytest
from draft_services.engine.nodes import Member, leader, leads


@pytest.mark.parametrize(
    ("seconds", "right"),
    [
        ([], True),
        ([0.1, 1.0], True),
        ([0.1, 900.0], True),
        ([6.5, 6.5], False),
        ([0.1, 0.2, 9.0, 9.0], True),
        ([0.1, 9.0, 9.0, 9.0], False),
    ],
)
def test_who_has_not_heard_of_most_others_lately_may_be_no_leader_any_more(
    seconds: list[float], right: bool
) -> None:
    replicas = [{"name": "n", "active": int(each * 1e9)} for each in seconds]
    assert leads({"cluster": {"leader": "me", "replicas": replicas}}) is right


def said(node: str, term: int, leads_since: str = "") -> Member:
    return Member(node, term, leads_since, applied=1)


OLD, NEW, FOLLOWS = said("a", 4, "noon"), said("b", 5, "one"), said("c", 5)


@pytest.mark.parametrize(
    ("members", "size", "leads"),
    [
        ([NEW, FOLLOWS], 3, NEW),
        ([OLD, NEW, FOLLOWS], 3, NEW),
        ([OLD], 3, None),
        ([OLD, NEW], 3, None),
        ([NEW], 3, None),
        ([FOLLOWS, said("a", 5)], 3, None),
        ([NEW, FOLLOWS], 5, None),
        ([NEW, FOLLOWS], 4, None),
    ],
)
def test_who_leads_is_known_when_most_nodes_are_in_its_term(
    members: list[Member], size: int, leads: Member | None
) -> None:
    assert leader(members, size) == leads
