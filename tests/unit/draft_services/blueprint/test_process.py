"""Processes as values: stored and read back, matched by every part of a filter."""

from __future__ import annotations

import json

import pytest
from draft_services.blueprint.leadership import must_claim
from draft_services.blueprint.process import INSTANCE, Filter, HealthState, Process

CART = Process(
    pid="p",
    name="cart",
    group="shop",
    address="127.0.0.1:1",
    metadata={INSTANCE: "cart-1", "zone": "a"},
    location=(1.5, 2.5),
    health_state=HealthState.HEALTHY,
)


def test_what_is_stored_is_read_back() -> None:
    assert Process.decode(CART.encode()) == CART


def test_a_field_of_a_newer_blueprint_does_not_disturb() -> None:
    stored = json.loads(CART.encode()) | {"invented": 1}
    assert Process.decode(json.dumps(stored).encode()) == CART


def test_an_instance_has_one_entry_and_a_stranger_its_own() -> None:
    assert CART.key == ("cart", "cart-1")
    assert Process(pid="q", name="cart").key == ("cart", "q")


def test_somebody_elses_report_makes_unhealthy() -> None:
    assert CART.health == HealthState.HEALTHY
    assert Process("p", "n", observed_state=HealthState.UNHEALTHY).health == HealthState.UNHEALTHY


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Filter(), True),
        (Filter(pid="p", group=None, name="cart", metadata={"zone": "a"}, health_state=1), True),
        (Filter(pid="q"), False),
        (Filter(pid=""), False),
        (Filter(group="shop"), True),
        (Filter(group=""), False),
        (Filter(name="car"), False),
        (Filter(name="cart", metadata={"zone": "b"}), False),
        (Filter(metadata={"zone": "a", "absent": ""}), False),
        (Filter(health_state=HealthState.UNHEALTHY), False),
    ],
)
def test_everything_that_is_set_has_to_hold(wanted: Filter, matches: bool) -> None:
    assert wanted.matches(CART) is matches


@pytest.mark.parametrize(
    ("holder", "live", "claims"),
    [
        (None, set(), True),
        ("me", set(), False),
        ("other", {"me", "other"}, False),
        ("other", {"me"}, True),
        ("other", set(), False),  # before we are registered ourselves we know too little
    ],
)
def test_the_leader_is_replaced_only_when_it_is_gone(
    holder: str | None, live: set[str], claims: bool
) -> None:
    assert must_claim(holder, "me", live) is claims
