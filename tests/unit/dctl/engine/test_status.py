"""What status says of each resource."""

from typing import Any

from dctl.engine.sight import Sight
from dctl.engine.status import Row, status
from dctl.errors import UnreachableError
from dctl.hosts.base import Check, Kind, Observed, Probe, Resource, State

SPEC = {"argv": ["a"]}


def asked(**more: Any) -> Resource:
    check = Check("tcp", "127.0.0.1:1")
    return Resource(Kind.PROCESS, "a-1", "local", "a", **{"spec": SPEC, "check": check, **more})


def seen(state: State = State.RUNNING, **more: Any) -> Observed:
    values = {"spec": SPEC, "started": 100.0, **more}
    return Observed(Kind.PROCESS, "a-1", "local", state, "shop", **values)


def row(resource: Resource, there: Observed | None, probe: Probe | None = None) -> Row:
    probes = {"a-1": probe} if probe else {}
    (only,) = status("shop", [resource], Sight([there] if there else []), probes, now=160.0)
    return only


def test_what_runs_and_answers_is_well() -> None:
    well = row(asked(), seen(), Probe(True))
    assert (well.desired, well.actual, well.health) == ("running", "running", "healthy")
    assert well.uptime == 60.0
    assert well.well


def test_what_answers_badly_is_ill_and_says_why() -> None:
    ill = row(asked(), seen(), Probe(False, "connection refused"))
    assert (ill.health, ill.reason, ill.well) == ("unhealthy", "connection refused", False)


def test_what_is_not_there_is_missing() -> None:
    assert row(asked(), None).actual == "missing"


def test_what_runs_with_an_older_spec_is_changed_and_names_the_fields() -> None:
    old = row(asked(), seen(spec={"argv": ["b"]}), Probe(True))
    assert (old.actual, old.reason, old.well) == ("changed", "argv", False)


def test_what_was_stopped_on_purpose_is_held_and_well() -> None:
    held = row(asked(), seen(State.HELD))
    assert (held.desired, held.actual, held.health, held.well) == ("held", "held", "-", True)
    assert held.uptime is None


def test_a_job_that_ended_well_is_as_desired() -> None:
    assert row(asked(), seen(State.COMPLETED)).well


def test_a_stopped_thing_names_its_last_exit() -> None:
    dead = row(asked(), seen(State.STOPPED, last_exit="killed by SIGKILL"))
    assert (dead.actual, dead.last_exit, dead.well) == ("stopped", "killed by SIGKILL", False)


def test_orphans_of_ours_stand_last_and_somebody_elses_things_do_not_appear() -> None:
    orphan = Observed(Kind.PROCESS, "x-1", "local", State.RUNNING, "shop")
    foreign = Observed(Kind.PROCESS, "y-1", "local", State.RUNNING, "blog")
    probes = {"a-1": Probe(True)}
    rows = status("shop", [asked()], Sight([orphan, foreign, seen()]), probes, now=0)
    assert [(r.name, r.desired) for r in rows] == [("a-1", "running"), ("x-1", "absent")]


def test_what_a_silent_host_has_is_unknown_with_the_reason_and_the_rest_is_told() -> None:
    route = Resource(Kind.ROUTE, "spec/a/1", "ingress", "a", {})
    sight = Sight(
        [seen()], {"ingress": UnreachableError("Fuse did not answer")}, frozenset({"ingress"})
    )
    told, untold = status("shop", [asked(), route], sight, {"a-1": Probe(True)}, now=0)
    assert told.well
    assert (untold.actual, untold.health, untold.well) == ("unknown", "unknown", False)
    assert untold.reason == "Fuse did not answer"
