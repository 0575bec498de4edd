"""Nodes of the engine that leave: each counts no more before anything else is touched, and the
books know of them until then."""

from __future__ import annotations

from typing import Any

import pytest

from dctl.engine.change import Intent, change
from dctl.engine.history import Release
from dctl.engine.leaving import Leaving, leaving
from dctl.engine.plan import Plan, make_plan
from dctl.engine.scope import WHOLE, Scope
from dctl.engine.sight import Sight, look
from dctl.errors import DctlError
from dctl.hosts.base import Kind, Observed, Resource, State
from dctl.hosts.fake import FakeHost
from dctl.render.plan import plan_text

NODE: dict[str, Any] = {"ports": {"client": "127.0.0.1:0", "cluster": "127.0.0.1:0"}}
BLUEPRINT = Resource(Kind.PROCESS, "blueprint-1", "local", "blueprint", {})


def nodes(count: int, routes: int = 0) -> list[Resource]:
    spec = {**NODE, "routes": routes}
    return [
        Resource(Kind.PROCESS, f"nats-{number}", "local", "nats", spec)
        for number in range(1, count + 1)
    ]


def there(count: int) -> Sight:
    return Sight(
        [
            Observed(Kind.PROCESS, r.name, r.host, State.RUNNING, "shop", "nats", spec=r.spec)
            for r in nodes(count)
        ]
    )


def release(count: int) -> Release:
    return Release(1, 0.0, "me", "cluster.yaml", "process", tuple(nodes(count)))


@pytest.mark.parametrize(
    ("asked", "seen", "scope", "left"),
    [
        ([*nodes(3), BLUEPRINT], there(3), WHOLE, ("nats-4", "nats-5")),
        ([*nodes(3), BLUEPRINT], there(4), WHOLE, ("nats-5",)),  # the other is yet to be removed
        ([*nodes(5), BLUEPRINT], there(3), WHOLE, ()),  # they come back
        ([*nodes(3), BLUEPRINT], there(3), Scope(("nats",)), ("nats-4", "nats-5")),
        ([*nodes(3), BLUEPRINT], there(3), Scope(("cart",)), ()),
        ([*nodes(3), BLUEPRINT], Sight(gone={"local": "no answer"}), WHOLE, ()),
        (nodes(3), there(3), WHOLE, ()),  # there is nobody to be told
        ([BLUEPRINT], there(0), WHOLE, ()),
    ],
)
def test_who_left_is_known_by_the_newest_release_that_was_well(
    asked: list[Resource], seen: Sight, scope: Scope, left: tuple[str, ...]
) -> None:
    assert leaving(asked, seen, scope, lambda: [release(3), release(5)]) == left


def test_a_plan_shows_who_is_to_count_no_more_and_is_not_empty_for_that() -> None:
    plan = make_plan("shop", nodes(3), there(3), leaving=("nats-4", "nats-5"))
    assert plan.to_do
    assert "nats-4, nats-5 have ended" in plan_text(plan, source="cluster.yaml")
    assert plan.to_json()["leaving"] == ["nats-4", "nats-5"]


class Noted(Leaving):
    """Writes down who counts no more, and what was there at that moment. `fails`: how often it
    cannot be had for nats-5."""

    def __init__(self, host: FakeHost, fails: int = 0) -> None:
        super().__init__(host, lambda _: None)  # type: ignore[arg-type]
        self.host, self.fails = host, fails
        self.told: list[tuple[str, list[int]]] = []

    def _remove(self, name: str) -> None:
        if self.fails and name == "nats-5":
            self.fails -= 1
            raise DctlError(f"{name} has ended, and still counts")
        things = [seen for seen in self.host.observe() if seen.service == "nats" and seen.spec]
        self.told.append((name, [seen.spec["routes"] for seen in things if seen.spec]))


def carried_out(host: FakeHost, asked: list[Resource], left: Noted, *names: str) -> bool:
    def plan() -> Plan:
        return make_plan("shop", asked, look({"local": [host]}), leaving=names)

    return change(Intent("apply"), {"local": host}, host, plan, leaving=left).ok


def test_each_counts_no_more_before_the_next_one_ends_and_before_others_are_restarted() -> None:
    host = FakeHost("shop", "local")
    assert carried_out(host, [*nodes(5), BLUEPRINT], Noted(host))
    left = Noted(host)
    assert carried_out(host, [*nodes(3, routes=1), BLUEPRINT], left)
    assert left.told == [("nats-5", [0, 0, 0, 0]), ("nats-4", [0, 0, 0])]
    left.told.clear()
    assert carried_out(host, [*nodes(3, routes=2), BLUEPRINT], left, "nats-4")
    assert left.told[0] == ("nats-4", [1, 1, 1])


def test_until_they_count_no_more_the_release_that_has_them_stays_the_newest() -> None:
    host = FakeHost("shop", "local")
    carried_out(host, [*nodes(5), BLUEPRINT], Noted(host))
    assert not carried_out(host, [*nodes(3, routes=1), BLUEPRINT], Noted(host, fails=1))
    with pytest.raises(DctlError, match="nats-5 has ended"):
        carried_out(host, [*nodes(3, routes=1), BLUEPRINT], Noted(host, fails=2), "nats-5")
    assert [len(each["resources"]) for each in host.releases()] == [6]
    assert carried_out(host, [*nodes(3, routes=1), BLUEPRINT], Noted(host, fails=1), "nats-5")
    assert [len(each["resources"]) for each in host.releases()] == [6, 4]
