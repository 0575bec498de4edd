"""Carrying a plan out: order, gates, failures, interruption."""

import dataclasses
from collections.abc import Sequence

import pytest

from dctl.engine.apply import Event, Phase, Result, apply
from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.errors import UnreachableError
from dctl.hosts.base import Check, Condition, Kind, Need, Observed, Resource
from dctl.hosts.fake import FakeHost


def resource(name: str, *needs: Need, argv: str = "a", check: Check | None = None) -> Resource:
    service = name.rsplit("-", 1)[0]
    check = check or Check("tcp", name, start=0.1, interval=0.05)
    return Resource(
        Kind.PROCESS, name, "local", service, {"argv": [argv]}, needs=needs, check=check
    )


def run(host: FakeHost, asked: Sequence[Resource], events: list[Event] | None = None) -> Result:
    plan = make_plan("shop", asked, Sight(host.observe()))
    listener = events.append if events is not None else (lambda event: None)
    return apply(plan, {"local": host}, on_event=listener)


def test_a_second_apply_does_nothing() -> None:
    host = FakeHost("shop")
    asked = [resource("a-1"), resource("b-1", Need("a-1"))]
    assert run(host, asked).ok
    host.calls.clear()
    assert run(host, asked).ok
    assert host.calls == []


def test_a_dependent_is_begun_only_when_what_it_needs_is_healthy() -> None:
    host = FakeHost("shop")
    events: list[Event] = []
    run(host, [resource("a-1"), resource("b-1", Need("a-1"))], events)
    order = [(e.step.name, e.phase) for e in events]
    assert order.index(("a-1", Phase.DONE)) < order.index(("b-1", Phase.ACTING))


def test_started_is_enough_where_the_spec_says_so() -> None:
    host = FakeHost("shop")
    host.ill.add("a-1")  # never healthy
    events: list[Event] = []
    run(host, [resource("a-1"), resource("b-1", Need("a-1", Condition.STARTED))], events)
    assert "ensure b-1" in host.calls


def test_only_what_changed_is_touched() -> None:
    host = FakeHost("shop")
    run(host, [resource("a-1"), resource("b-1")])
    host.calls.clear()
    run(host, [resource("a-1"), resource("b-1", argv="other")])
    assert host.calls == ["ensure b-1"]


def test_replicas_of_one_service_change_one_after_the_other() -> None:
    host = FakeHost("shop")
    run(host, [resource(f"a-{i}") for i in (1, 2, 3)])
    events: list[Event] = []
    run(host, [resource(f"a-{i}", argv="new") for i in (1, 2, 3)], events)
    changing = [(e.step.name, e.phase) for e in events if e.phase in (Phase.ACTING, Phase.DONE)]
    assert changing == [
        (f"a-{i}", phase) for i in (1, 2, 3) for phase in (Phase.ACTING, Phase.DONE)
    ]


def test_a_failed_step_names_the_reason_and_leaves_the_rest_undone() -> None:
    host = FakeHost("shop")
    host.broken["a-1"] = "no such file: a"
    result = run(host, [resource("a-1"), resource("b-1", Need("a-1"))])
    assert [(f.step.name, f.reason) for f in result.failures] == [("a-1", "no such file: a")]
    assert [s.name for s in result.not_done] == ["b-1"]
    assert host.calls == ["ensure a-1"]


def test_a_thing_that_dies_at_start_fails_with_its_exit_and_its_last_twenty_lines() -> None:
    host = FakeHost("shop")
    host.crashing.add("a-1")
    (failure,) = run(host, [resource("a-1")]).failures
    assert failure.reason.startswith("exit status 1")
    assert failure.tail == tuple(f"a-1 says {i}" for i in range(20))


def test_an_apply_after_a_failure_goes_on_from_there() -> None:
    host = FakeHost("shop")
    host.broken["b-1"] = "disk full"
    asked = [resource("a-1"), resource("b-1", Need("a-1")), resource("c-1", Need("b-1"))]
    run(host, asked)
    host.broken.clear()
    host.calls.clear()
    assert run(host, asked).ok
    assert host.calls == ["ensure b-1", "ensure c-1"]


def test_an_interrupted_apply_begins_nothing_new_and_a_rerun_converges() -> None:
    host = FakeHost("shop")
    asked = [resource("a-1"), resource("b-1", Need("a-1"))]

    def interrupt(event: Event) -> None:
        if event.step.name == "a-1" and event.phase is Phase.DONE:
            raise KeyboardInterrupt

    result = apply(make_plan("shop", asked, Sight()), {"local": host}, on_event=interrupt)
    assert result.interrupted
    assert [s.name for s in result.not_done] == ["b-1"]
    assert run(host, asked).ok
    assert not make_plan("shop", asked, Sight(host.observe())).changed


def test_what_is_stopped_comes_back() -> None:
    host = FakeHost("shop")
    asked = [resource("a-1")]
    run(host, asked)
    host.crash("a-1")
    host.calls.clear()
    assert run(host, asked).ok
    assert host.calls == ["start a-1"]


def test_an_unchanged_thing_that_is_ill_is_reported() -> None:
    host = FakeHost("shop")
    asked = [resource("a-1")]
    run(host, asked)
    host.ill.add("a-1")
    (failure,) = run(host, asked).failures
    assert "a-1 refused the connection" in failure.reason


@pytest.mark.parametrize("gone", ["a-1", "b-1"])
def test_orphans_are_removed_before_anything_is_made(gone: str) -> None:
    host = FakeHost("shop")
    run(host, [resource("a-1"), resource("b-1")])
    host.calls.clear()
    kept = "b-1" if gone == "a-1" else "a-1"
    run(host, [resource(kept), resource("c-1")])
    assert host.calls == [f"remove {gone}", "ensure c-1"]


def test_nothing_is_touched_before_all_that_programs_run_from_is_there() -> None:
    host = FakeHost("shop")
    run(host, [resource("a-1"), resource("b-1")])
    host.calls.clear()
    host.broken["shop/a:2"] = "it cannot be pulled"
    image = Resource(Kind.IMAGE, "shop/a:2", "local", "a", {})
    asked = [resource("a-1", Need("shop/a:2"), argv="new"), resource("c-1"), image]
    result = run(host, asked)
    assert host.calls == ["ensure shop/a:2"]
    assert {step.name for step in result.not_done} == {"a-1", "b-1", "c-1"}
    host.broken.clear()
    host.calls.clear()
    assert run(host, asked).ok
    assert host.calls[:2] == ["ensure shop/a:2", "remove b-1"]


def on(host: str, asked: Resource) -> Resource:
    return dataclasses.replace(asked, host=host)


class Dying(FakeHost):
    """It is lost with its first step."""

    def ensure(self, resource: Resource) -> None:
        self.silent = "the connection was cut"
        super().ensure(resource)


@pytest.mark.parametrize("when", ["before its first step", "while it is waited for"])
def test_a_machine_that_is_lost_ends_only_what_is_for_it_or_needs_that(when: str) -> None:
    lost = (
        Dying("shop", "core-2") if when == "before its first step" else FakeHost("shop", "core-2")
    )
    hosts = {"core-1": FakeHost("shop", "core-1"), "core-2": lost}
    asked = [
        on("core-2", resource("b-1")),
        on("core-1", resource("a-1")),
        on("core-1", resource("c-1", Need("a-1"))),
        on("core-1", resource("d-1", Need("b-1"))),
    ]
    if when == "while it is waited for":
        lost.ill.add("b-1")

    def listen(event: Event) -> None:
        if (event.step.name, event.phase) == ("b-1", Phase.GATING):
            lost.silent = "frozen"

    result = apply(make_plan("shop", asked, Sight()), hosts, on_event=listen)
    assert {step.name for step in result.done} == {"a-1", "c-1"}
    assert [failure.step.name for failure in result.failures] == ["b-1"]
    assert "core-2" in result.failures[0].reason
    assert [step.name for step in result.not_done] == ["d-1"]


def test_a_short_silence_is_not_a_loss() -> None:
    class Blinking(FakeHost):
        looks = 0

        def observe(self) -> Sequence[Observed]:
            self.looks += 1
            self.silent = "a moment" if self.looks == 1 else ""
            return super().observe()

    host = Blinking("shop", "core-1")
    plan = make_plan("shop", [on("core-1", resource("a-1"))], Sight())
    assert apply(plan, {"core-1": host}).ok
    assert host.looks > 1


def test_an_apply_that_had_to_leave_a_host_alone_is_not_well_done() -> None:
    sight = Sight([], {"edge-1": UnreachableError("frozen")}, frozenset({"edge-1"}))
    result = apply(make_plan("shop", [resource("a-1")], sight), {"local": FakeHost("shop")})
    assert [step.name for step in result.done] == ["a-1"]
    assert not result.ok
    assert result.to_json()["silent"] == {"edge-1": "frozen"}
