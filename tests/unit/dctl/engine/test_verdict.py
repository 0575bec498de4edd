"""The compare function against a folder of cases; a new case is a new file."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from dctl.engine.verdict import Change, verdict
from dctl.hosts.base import Endpoint, Kind, Observed, Resource, State

CASES = Path(__file__).parents[3] / "cases" / "verdict"


def load(path: Path) -> dict[str, Any]:
    return YAML(typ="safe").load(path)


def kind(case: dict[str, Any]) -> Kind:
    return Kind(case.get("kind", "process"))


def ports(asked: dict[str, int] | None) -> dict[str, Endpoint]:
    return {name: Endpoint("127.0.0.1", port) for name, port in (asked or {}).items()}


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda p: p.stem)
def test_each_case_is_decided_as_its_file_says(path: Path) -> None:
    case = load(path)
    asked = seen = None
    if "asked" in case:
        asked = Resource(
            kind(case), "a-1", "local", "a", case["asked"], ports=ports(case.get("ports"))
        )
    if "seen" in case:
        there = case["seen"]
        state, owner = State(there["state"]), there["owner"]
        seen = Observed(
            kind(case),
            "a-1",
            "local",
            state,
            owner,
            spec=there.get("spec"),
            ports=ports(there.get("ports")),
            last_exit=there.get("last_exit", ""),
        )

    decided = verdict(asked, seen, "shop")

    expect = case["expect"]
    assert decided.action == expect["action"], case["why"]
    assert decided.reason == expect.get("reason", ""), case["why"]
    assert list(decided.changes) == [Change(**c) for c in expect.get("changes", [])], case["why"]
