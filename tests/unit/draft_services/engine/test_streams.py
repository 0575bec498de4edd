"""Which node speaks for a stream."""

from __future__ import annotations

import pytest
from draft_services.engine.streams import leads


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


def test_a_server_by_itself_leads() -> None:
    assert leads({"state": {}})
