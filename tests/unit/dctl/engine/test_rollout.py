"""Exchanging the replicas of a service: stand-in, order, and the way back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest

from dctl.engine.apply import Event, Phase, Result, apply
from dctl.engine.plan import Role, make_plan
from dctl.engine.sight import Sight
from dctl.engine.verdict import Action
from dctl.hosts.base import Check, Endpoint, Kind, Probe, Resource, Rollout, State
from dctl.hosts.fake import FakeHost


class Choosy(FakeHost):
    """What runs "bad" is ill, if it is in `refusing`."""

    def __init__(self) -> None:
        super().__init__("shop")
        self.refusing: set[str] = set()

    def probe(self, check: Check) -> Probe:
        seen = next(o for o in self.observe() if o.name == check.target)
        assert seen.spec is not None
        bad = seen.spec["argv"] == ["bad"] and seen.name in self.refusing
        return Probe(not bad, "it is bad" if bad else "")


def replicas(
    argv: str,
    count: int = 2,
    *,
    parallel: int = 1,
    stand_in: bool = True,
    auto_rollback: bool = True,
    monitor: float = 0.0,
    kind: Kind = Kind.CONTAINER,
    source: str = "",
) -> list[Resource]:
    def one(name: str, rollout: Rollout) -> Resource:
        check = Check("tcp", name, start=0.1, interval=0.05, retries=1)
        spec = {"argv": [argv], "source": source}
        return Resource(kind, name, "local", "a", spec, check=check, rollout=rollout)

    extra = one("a-next", Rollout(auto_rollback=auto_rollback)) if stand_in else None
    rollout = Rollout(parallel, auto_rollback, extra, monitor)
    return [one(f"a-{number}", rollout) for number in range(1, count + 1)]


def run(
    host: FakeHost, asked: Sequence[Resource], on_event: Callable[[Event], None] = lambda _: None
) -> Result:
    host.calls.clear()
    plan = make_plan("shop", asked, Sight(host.observe()))
    return apply(plan, {"local": host}, on_event=on_event)


def running(host: FakeHost) -> dict[str, str]:
    return {o.name: (o.spec or {})["argv"][0] for o in host.observe() if o.state is State.RUNNING}


@pytest.fixture
def host() -> Choosy:
    host = Choosy()
    assert run(host, replicas("good")).ok
    assert host.calls == ["ensure a-1", "ensure a-2"]  # the first start needs no stand-in
    return host


def test_a_stand_in_serves_while_the_replicas_are_exchanged(host: Choosy) -> None:
    assert run(host, replicas("better")).ok
    assert host.calls == ["ensure a-next", "ensure a-1", "ensure a-2", "remove a-next"]
    assert running(host) == {"a-1": "better", "a-2": "better"}
    assert make_plan("shop", replicas("better"), Sight(host.observe())).changed == ()


def test_a_stand_in_leaves_also_where_the_service_has_routes(host: Choosy) -> None:
    route = Resource(Kind.ROUTE, "spec/a/1", "local", "a", {"argv": ["r"]})
    assert run(host, [*replicas("good"), route]).ok
    assert run(host, [*replicas("better"), route]).ok
    assert host.calls == ["ensure a-next", "ensure a-1", "ensure a-2", "remove a-next"]


def test_a_stand_in_that_was_left_behind_leaves_with_the_next_apply(host: Choosy) -> None:
    left = replicas("good")[0].rollout
    assert left is not None
    assert left.stand_in is not None
    host.ensure(left.stand_in)
    route = Resource(Kind.ROUTE, "spec/a/1", "local", "a", {"argv": ["r"]})
    assert run(host, [*replicas("good"), route]).ok
    assert host.calls == ["ensure spec/a/1", "remove a-next"]


def test_a_stand_in_that_does_not_get_well_leaves_all_as_it_was(host: Choosy) -> None:
    host.refusing = {"a-next"}
    result = run(host, replicas("bad"))
    assert [failure.step.name for failure in result.failures] == ["a-next"]
    assert host.calls == ["ensure a-next", "remove a-next"]
    assert running(host) == {"a-1": "good", "a-2": "good"}


def test_a_replica_that_does_not_get_well_takes_all_of_them_back(host: Choosy) -> None:
    host.refusing = {"a-2"}
    result = run(host, replicas("bad"))
    assert [failure.step.name for failure in result.failures] == ["a-2"]
    assert {step.name for step in result.restored} == {"a-1", "a-2"}
    assert running(host) == {"a-1": "good", "a-2": "good"}


def test_nothing_is_taken_back_where_the_spec_does_not_want_it(host: Choosy) -> None:
    host.refusing = {"a-1"}
    result = run(host, replicas("bad", auto_rollback=False))
    assert result.restored == ()
    assert running(host) == {"a-next": "bad", "a-1": "bad", "a-2": "good"}


def test_code_that_is_gone_cannot_be_brought_back_and_the_stand_in_goes_on_serving() -> None:
    host = Choosy()
    run(host, replicas("good", kind=Kind.PROCESS, source="one"))
    host.refusing = {"a-1"}
    result = run(host, replicas("bad", kind=Kind.PROCESS, source="two"))
    assert result.restored == ()
    assert running(host) == {"a-next": "bad", "a-1": "bad", "a-2": "good"}


def test_a_stand_in_that_a_cut_rollout_left_leaves_when_the_service_stands(host: Choosy) -> None:
    asked = replicas("better")
    stand_in = asked[0].rollout and asked[0].rollout.stand_in
    assert stand_in
    for resource in (stand_in, *asked):
        host.ensure(resource)
    (left,) = make_plan("shop", asked, Sight(host.observe())).changed
    assert (left.name, left.verdict.action, left.role) == ("a-next", Action.DELETE, Role.LEAVING)
    assert run(host, asked).ok
    assert running(host) == {"a-1": "better", "a-2": "better"}


def test_a_stand_in_of_a_service_that_left_the_spec_goes_with_it(host: Choosy) -> None:
    stand_in = replicas("good")[0].rollout
    assert stand_in
    assert stand_in.stand_in
    host.ensure(stand_in.stand_in)
    assert run(host, []).ok
    assert running(host) == {}


def test_as_many_are_exchanged_at_once_as_the_spec_says() -> None:
    plan = make_plan("shop", replicas("better", 4, parallel=2, stand_in=False), Sight())
    assert {step.name for step in plan.changed} == {"a-1", "a-2", "a-3", "a-4"}
    host = Choosy()
    run(host, replicas("good", 4, parallel=2, stand_in=False))
    host.refusing = {"a-1", "a-2"}
    result = run(host, replicas("bad", 4, parallel=2, stand_in=False, auto_rollback=False))
    assert {failure.step.name for failure in result.failures} <= {"a-1", "a-2"}
    assert set(host.calls) == {"ensure a-1", "ensure a-2"}


def when_watched(name: str, do: Callable[[], object]) -> Callable[[Event], None]:
    def listen(event: Event) -> None:
        if event.step.name == name and event.phase is Phase.WATCHING:
            do()

    return listen


@pytest.mark.parametrize("ill", ["a-1", "a-2"])
def test_a_replica_that_falls_ill_while_it_is_watched_takes_all_of_them_back(
    host: Choosy, ill: str
) -> None:
    # The second is the last that is exchanged: from then on all are watched.
    listen = when_watched("a-2", lambda: host.refusing.add(ill))
    result = run(host, replicas("bad", monitor=60), listen)
    (failure,) = result.failures
    assert (failure.step.name, failure.reason) == (ill, "it was well, then unhealthy: it is bad")
    assert {step.name for step in result.restored} == {"a-1", "a-2"}
    assert running(host) == {"a-1": "good", "a-2": "good"}


def test_a_replica_that_ends_while_it_is_watched_takes_all_of_them_back(host: Choosy) -> None:
    listen = when_watched("a-2", lambda: host.crash("a-1", "exit status 3"))
    (failure,) = run(host, replicas("bad", monitor=60), listen).failures
    assert failure.reason == "it was well, then it ended (exit status 3)"
    assert running(host) == {"a-1": "good", "a-2": "good"}


def test_the_stand_in_serves_until_all_have_stayed_well(host: Choosy) -> None:
    events: list[Event] = []
    assert run(host, replicas("better", monitor=0.2), events.append).ok
    order = [(event.step.name, event.phase) for event in events]
    watched = order.index(("a-2", Phase.WATCHING))
    left = order.index(("a-next", Phase.ACTING), watched)
    assert watched < order.index(("a-1", Phase.DONE)) < left
    assert running(host) == {"a-1": "better", "a-2": "better"}


def test_one_bad_answer_while_watched_is_forgiven(host: Choosy) -> None:
    asked = [patient(resource) for resource in replicas("bad", stand_in=False, monitor=0.2)]
    answers = iter([Probe(False, "busy"), Probe(True)])
    well = host.probe

    def stumble() -> None:
        host.probe = lambda check: next(answers, None) or well(check)  # type: ignore[method-assign]

    assert run(host, asked, when_watched("a-2", stumble)).ok
    assert next(answers, None) is None
    assert running(host) == {"a-1": "bad", "a-2": "bad"}


def patient(resource: Resource) -> Resource:
    assert resource.check
    return dataclasses.replace(resource, check=dataclasses.replace(resource.check, retries=2))


def test_what_stands_already_or_is_new_is_not_watched(host: Choosy) -> None:
    events: list[Event] = []
    assert run(host, replicas("good", 3, monitor=60), events.append).ok
    assert Phase.WATCHING not in {event.phase for event in events}


def test_a_service_that_was_not_exchanged_whole_is_not_watched_to_the_end(host: Choosy) -> None:
    host.refusing = {"a-2"}
    result = run(host, replicas("bad", stand_in=False, auto_rollback=False, monitor=60))
    assert [step.name for step in result.done] == ["a-1"]


def test_an_interrupted_watch_leaves_what_was_exchanged_as_done(host: Choosy) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    result = run(host, replicas("better", monitor=60), when_watched("a-2", interrupt))
    assert result.interrupted
    assert {step.name for step in result.done} == {"a-next", "a-1", "a-2"}
    assert [step.name for step in result.not_done] == ["a-next"]  # it has not left


def test_nothing_is_put_back_on_a_machine_that_is_lost(host: Choosy) -> None:
    def vanish() -> None:
        host.silent = "the engine went away"

    result = run(host, replicas("better", monitor=60), when_watched("a-2", vanish))
    assert {failure.reason for failure in result.failures} == {"local: the engine went away"}
    assert result.restored == ()
    host.silent = ""
    assert running(host) == {"a-next": "better", "a-1": "better", "a-2": "better"}
    assert run(host, replicas("better")).ok


def test_what_goes_back_is_asked_for_its_health_where_it_listened() -> None:
    def at(port: int) -> Resource:
        return Resource(
            Kind.CONTAINER,
            "a-1",
            "local",
            "a",
            {},
            ports={"http": Endpoint("127.0.0.1", port)},
            check=Check("http", f"http://127.0.0.1:{port}/127.0.0.1:{port}0"),
        )

    host = FakeHost("shop")
    host.ensure(at(80))
    (step,) = make_plan("shop", [at(90)], Sight(host.observe())).changed
    assert step.before
    assert step.before.check == Check("http", "http://127.0.0.1:80/127.0.0.1:900")
