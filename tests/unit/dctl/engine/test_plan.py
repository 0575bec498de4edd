"""Plans: order, orphans, refusals."""

import dataclasses

import pytest

from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.engine.verdict import Action
from dctl.errors import DctlError, ForeignError, UnreachableError
from dctl.hosts.base import Kind, Need, Observed, Resource, State


def resource(name: str, *needs: str) -> Resource:
    service = name.rsplit("-", 1)[0]
    return Resource(
        Kind.PROCESS, name, "local", service, {"argv": [name]}, needs=tuple(map(Need, needs))
    )


def running(name: str, *, owner: str = "shop", needs: tuple[str, ...] = ()) -> Observed:
    return Observed(
        Kind.PROCESS, name, "local", State.RUNNING, owner, spec={"argv": [name]}, needs=needs
    )


def test_what_is_needed_comes_first_and_ties_keep_the_order_of_the_spec() -> None:
    asked = [resource("c-1", "a-1"), resource("b-1"), resource("a-1"), resource("d-1", "c-1")]
    plan = make_plan("shop", asked, Sight())
    assert [step.name for step in plan.steps] == ["b-1", "a-1", "c-1", "d-1"]


def test_the_same_input_gives_the_same_plan_whatever_the_order_of_what_was_seen() -> None:
    asked = [resource("b-1"), resource("a-1")]
    seen = [running("x-1"), running("b-1"), running("y-1", needs=("x-1",))]
    assert make_plan("shop", asked, Sight(seen)) == make_plan(
        "shop", asked, Sight(list(reversed(seen)))
    )


def test_orphans_go_first_and_dependents_before_what_they_need() -> None:
    seen = [running("a-1"), running("b-1", needs=("a-1",)), running("c-1")]
    plan = make_plan("shop", [resource("c-1")], Sight(seen))
    assert [(s.name, s.verdict.action) for s in plan.steps] == [
        ("b-1", Action.DELETE),
        ("a-1", Action.DELETE),
        ("c-1", Action.NONE),
    ]


def test_somebody_elses_thing_is_no_orphan() -> None:
    plan = make_plan("shop", [], Sight([running("a-1", owner="blog"), running("b-1", owner="")]))
    assert plan.steps == ()


def test_all_taken_names_are_refused_at_once() -> None:
    with pytest.raises(ForeignError, match=r"a-1 .*cluster \"blog\"; process b-1 .*not made"):
        make_plan(
            "shop",
            [resource("a-1"), resource("b-1")],
            Sight([running("a-1", owner="blog"), running("b-1", owner="")]),
        )


def test_applying_twice_plans_nothing_the_second_time() -> None:
    plan = make_plan("shop", [resource("a-1")], Sight([running("a-1")]))
    assert not plan.changed
    assert plan.to_json()["changes"] == 0


def test_nothing_is_planned_for_a_host_that_could_not_be_looked_at() -> None:
    there, gone = resource("a-1"), dataclasses.replace(resource("b-1"), host="edge-1")
    sight = Sight([], {"edge-1": UnreachableError("frozen")}, frozenset({"edge-1"}))
    plan = make_plan("shop", [there, gone], sight)
    assert [step.name for step in plan.steps] == ["a-1"]
    assert plan.silent == {"edge-1": "frozen"}


def test_what_moved_to_another_host_ends_on_the_old_one_and_begins_on_the_new() -> None:
    asked = dataclasses.replace(resource("a-1"), host="core-2")
    seen = dataclasses.replace(running("a-1"), host="core-1")
    steps = make_plan("shop", [asked], Sight([seen])).steps
    assert [(s.host, s.verdict.action) for s in steps] == [
        ("core-1", Action.DELETE),
        ("core-2", Action.CREATE),
    ]


def node(*ports: str) -> Resource:
    spec = {"ports": dict.fromkeys(ports, "127.0.0.1:0")}
    return Resource(Kind.PROCESS, "nats-1", "local", "nats", spec)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (("client",), ("client", "cluster"), "moved by an apply of the whole cluster"),
        (("client", "cluster"), ("client",), "moved by an apply of the whole cluster"),
    ],
)
def test_the_data_of_an_engine_is_not_left_behind_by_another_number_of_nodes(
    before: tuple[str, ...], after: tuple[str, ...], said: str
) -> None:
    there = Observed(
        Kind.PROCESS, "nats-1", "local", State.RUNNING, "shop", "nats", spec=node(*before).spec
    )
    with pytest.raises(DctlError, match=said):
        make_plan("shop", [node(*after)], Sight([there]))
    assert not make_plan("shop", [node(*before)], Sight([there])).changed
    make_plan("shop", [node(*after)], Sight())
