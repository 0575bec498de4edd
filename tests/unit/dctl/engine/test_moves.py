"""Replicas that move from one host to another, with and without a gap."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from dctl.engine.apply import Result, apply
from dctl.engine.catalogue.site import rollout_of
from dctl.engine.plan import make_plan
from dctl.engine.scope import WHOLE, Scope
from dctl.engine.sight import look
from dctl.hosts.base import Check, Endpoint, Kind, Need, Resource, Rollout
from dctl.hosts.fake import FakeHost
from dctl.spec.core import Core
from dctl.spec.workload import Service, Update

OVERLAP = Rollout(overlap=True)


class Noted(FakeHost):
    """Its changes are noted with those of the other hosts, in their order."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__("shop", name)
        self.notes = notes

    def ensure(self, resource: Resource) -> None:
        self.notes.append(f"{resource.name} begins on {self.name}")
        super().ensure(resource)

    def remove(self, name: str) -> None:
        self.notes.append(f"{name} ends on {self.name}")
        super().remove(name)


class Fleet:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.hosts = {name: Noted(name, self.notes) for name in ("old", "new")}

    def apply(self, asked: Sequence[Resource], scope: Scope = WHOLE) -> Result:
        self.notes.clear()
        sight = look({name: [host] for name, host in self.hosts.items()})
        return apply(make_plan("shop", asked, sight, scope), self.hosts)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def one(name: str, host: str, rollout: Rollout | None, port: int = 0) -> Resource:
    check = Check("tcp", f"{name} on {host}", start=0.1, interval=0.05, retries=1)
    ports = {"main": Endpoint("127.0.0.1", port)} if port else {}
    return Resource(
        Kind.PROCESS, name, host, "a", {"argv": []}, check=check, rollout=rollout, ports=ports
    )


def replicas(
    *hosts: str, rollout: Rollout | None = None, stand_in: bool = False, port: int = 0
) -> list[Resource]:
    """a-1, a-2 and so on, each on its host."""
    if stand_in:
        rollout = Rollout(stand_in=one("a-next", hosts[0], Rollout()))
    return [one(f"a-{n}", host, rollout, port) for n, host in enumerate(hosts, 1)]


def test_what_moves_ends_before_it_begins_as_a_rule_and_is_said_to_move(fleet: Fleet) -> None:
    fleet.apply(replicas("old"))
    sight = look({name: [host] for name, host in fleet.hosts.items()})
    deletion = make_plan("shop", replicas("new"), sight).steps[0]
    assert deletion.verdict.reason == "moves to new"
    assert fleet.apply(replicas("new")).ok
    assert fleet.notes == ["a-1 ends on old", "a-1 begins on new"]


def test_a_stand_in_serves_while_the_replicas_move_one_after_the_other(fleet: Fleet) -> None:
    fleet.apply(replicas("old", "old", stand_in=True))
    assert fleet.apply(replicas("new", "new", stand_in=True)).ok
    assert fleet.notes == [
        "a-next begins on new",
        "a-1 ends on old",
        "a-1 begins on new",
        "a-2 ends on old",
        "a-2 begins on new",
        "a-next ends on new",
    ]


def test_one_that_moves_and_one_that_is_exchanged_take_turns(fleet: Fleet) -> None:
    fleet.apply(replicas("old", "new", stand_in=True))
    other = [
        dataclasses.replace(r, spec={"argv": ["b"]}) for r in replicas("new", "new", stand_in=True)
    ]
    assert fleet.apply(other).ok
    assert fleet.notes == [
        "a-next begins on new",
        "a-1 ends on old",
        "a-1 begins on new",
        "a-2 begins on new",
        "a-next ends on new",
    ]


def test_nothing_ends_when_its_stand_in_does_not_get_well(fleet: Fleet) -> None:
    fleet.apply(replicas("old", "old", stand_in=True))
    fleet.hosts["new"].ill = {"a-next on new"}
    assert not fleet.apply(replicas("new", "new", stand_in=True)).ok
    assert "a-1 ends on old" not in fleet.notes


def test_a_replica_that_does_not_get_well_where_it_moved_to_lets_no_other_move(
    fleet: Fleet,
) -> None:
    fleet.apply(replicas("old", "old", stand_in=True))
    fleet.hosts["new"].ill = {"a-1 on new"}
    result = fleet.apply(replicas("new", "new", stand_in=True))
    assert [failure.step.name for failure in result.failures] == ["a-1"]
    assert fleet.notes[1:] == ["a-1 ends on old", "a-1 begins on new"]  # its stand-in goes on
    fleet.hosts["new"].ill.clear()
    assert fleet.apply(replicas("new", "new", stand_in=True)).ok
    assert [o.name for o in fleet.hosts["new"].observe()] == ["a-1", "a-2"]


def test_what_may_overlap_ends_when_all_of_the_service_stands_on_the_new_host(
    fleet: Fleet,
) -> None:
    def asked(host: str) -> list[Resource]:
        route = Resource(Kind.ROUTE, "spec/a/1", "new", "a", {"to": host}, needs=(Need("a-1"),))
        return [*replicas(host, rollout=OVERLAP), route]

    fleet.apply(asked("old"))
    assert fleet.apply(asked("new")).ok
    assert fleet.notes == ["a-1 begins on new", "spec/a/1 begins on new", "a-1 ends on old"]


def test_what_does_not_get_well_on_the_new_host_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.apply(replicas("old", rollout=OVERLAP))
    fleet.hosts["new"].ill = {"a-1 on new"}
    assert not fleet.apply(replicas("new", rollout=OVERLAP)).ok
    assert fleet.notes == ["a-1 begins on new"]
    # The next apply waits for it, too.
    assert not fleet.apply(replicas("new", rollout=OVERLAP)).ok
    assert fleet.notes == []
    fleet.hosts["new"].ill.clear()
    assert fleet.apply(replicas("new", rollout=OVERLAP)).ok
    assert fleet.notes == ["a-1 ends on old"]


@pytest.mark.parametrize("how", [{"rollout": OVERLAP}, {"stand_in": True}])
def test_two_that_change_places_end_first_when_they_want_the_same_port(
    fleet: Fleet, how: dict[str, object]
) -> None:
    fleet.apply(replicas("old", "new", port=80, **how))  # type: ignore[arg-type]
    assert fleet.apply(replicas("new", "old", port=80, **how)).ok  # type: ignore[arg-type]
    assert {*fleet.notes[:2]} == {"a-1 ends on old", "a-2 ends on new"}


@pytest.mark.parametrize("how", [{"rollout": OVERLAP}, {"stand_in": True}])
def test_a_move_of_which_only_one_side_is_meant_is_half_a_move(
    fleet: Fleet, how: dict[str, object]
) -> None:
    fleet.apply(replicas("old", **how))  # type: ignore[arg-type]
    assert fleet.apply(replicas("new", **how), Scope(hosts=("old",))).ok  # type: ignore[arg-type]
    assert fleet.notes == ["a-1 ends on old"]


def test_what_is_there_already_only_ends_where_it_was(fleet: Fleet) -> None:
    (there,) = replicas("old", stand_in=True)
    fleet.hosts["old"].ensure(there)
    fleet.hosts["new"].ensure(dataclasses.replace(there, host="new"))
    assert fleet.apply(replicas("new", stand_in=True)).ok
    assert fleet.notes == ["a-1 ends on old"]


def test_what_cannot_be_stood_in_for_in_the_part_that_is_meant_ends_first(fleet: Fleet) -> None:
    fleet.hosts["third"] = Noted("third", fleet.notes)
    fleet.apply(replicas("third", "old", stand_in=True))
    meant = Scope(hosts=("old", "new"))
    assert fleet.apply(replicas("third", "new", stand_in=True), meant).ok
    assert fleet.notes == ["a-2 ends on old", "a-2 begins on new"]


def test_what_registers_or_keeps_something_does_not_run_twice() -> None:
    command = {"command": ["a"]}

    def overlaps(**spec: object) -> bool:
        return rollout_of(Service.model_validate(spec)).overlap

    assert overlaps(**command)
    assert overlaps(image="shop/a:1")
    assert not overlaps(**command, update=Update(order="stop-first"))
    assert not overlaps(**command, volumes={"data": "/data"})
    assert not overlaps(run="services/a")
    nats = Core().nats
    assert nats
    assert not rollout_of(nats).overlap
