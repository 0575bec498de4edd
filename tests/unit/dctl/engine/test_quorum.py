"""Replicas that need more than half of each other: one is touched while all others are well."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest

from dctl.engine.apply import Result, apply
from dctl.engine.operate import operate
from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.errors import DctlError
from dctl.hosts.base import Check, Kind, Probe, Resource, Rollout
from dctl.hosts.fake import FakeHost


class Watchful(FakeHost):
    """`down` lists who was ill each time that something was changed."""

    def __init__(self) -> None:
        super().__init__("shop")
        self.down: list[set[str]] = []

    def probe(self, check: Check) -> Probe:
        runs = any(o.name == check.target and o.state == "running" for o in self.observe())
        return super().probe(check) if runs else Probe(False, "it does not run")

    def ensure(self, resource: Resource) -> None:
        ill = {o.name for o in self.observe() if not self.probe(Check("tcp", o.name)).ok}
        self.down.append(ill - {resource.name})
        super().ensure(resource)


class Apart(FakeHost):
    """Of its replicas two are well as long as they are of one sort."""

    def hold_all(self, resources: Sequence[Resource]) -> None:
        for resource in resources:
            self.ensure(resource)

    def probe(self, check: Check) -> Probe:
        sorts = [str(o.spec) for o in self.observe()]
        own = next(str(o.spec) for o in self.observe() if o.name == check.target)
        return Probe(sorts.count(own) > 1, "it is alone")


def nodes(argv: str) -> list[Resource]:
    return [
        Resource(
            Kind.PROCESS,
            f"n-{number}",
            "local",
            "n",
            {"argv": [argv]},
            check=Check("tcp", f"n-{number}", start=0.2, interval=0.05, retries=1),
            rollout=Rollout(quorum=True),
        )
        for number in (1, 2, 3)
    ]


def run(host: FakeHost, asked: Sequence[Resource]) -> Result:
    host.calls.clear()
    return apply(make_plan("shop", asked, Sight(host.observe())), {"local": host})


@pytest.fixture
def host() -> Watchful:
    host = Watchful()
    assert run(host, nodes("old")).ok
    host.down.clear()
    return host


def test_they_are_exchanged_one_after_the_other_while_the_others_are_well(host: Watchful) -> None:
    assert run(host, nodes("new")).ok
    assert host.calls == ["ensure n-1", "ensure n-2", "ensure n-3"]
    assert host.down == [set(), set(), set()]


@pytest.mark.parametrize("encrypt", [True, False])
def test_replicas_that_could_not_speak_to_each_other_are_exchanged_together(encrypt: bool) -> None:
    """Each is well only with others that are as it is: encrypted, or not."""
    plain, tls = ({"argv": ["n"], "env": env} for env in ({}, {"DRAFT_TLS_FILE": "/tls"}))
    before, after = (plain, tls) if encrypt else (tls, plain)
    host = Apart("shop")

    def all_as(spec: dict[str, object]) -> list[Resource]:
        return [dataclasses.replace(node, spec=spec) for node in nodes("n")]

    host.hold_all(all_as(before))
    assert run(host, all_as(after)).ok
    assert {str(o.spec) for o in host.observe()} == {str(after)}


def test_one_that_does_not_run_is_exchanged_first(host: Watchful) -> None:
    host.crash("n-3")
    assert run(host, nodes("new")).ok
    assert host.calls == ["ensure n-3", "ensure n-1", "ensure n-2"]
    assert host.down == [set(), set(), set()]


def test_one_that_has_only_ended_is_brought_back_first(host: Watchful) -> None:
    host.crash("n-3")
    assert run(host, [*nodes("new")[:2], *nodes("old")[2:]]).ok
    assert host.calls == ["start n-3", "ensure n-1", "ensure n-2"]
    assert host.down == [set(), set()]


def test_none_is_touched_while_another_one_runs_and_is_not_well(host: Watchful) -> None:
    host.ill.add("n-3")
    result = run(host, [*nodes("new")[:2], *nodes("old")[2:]])
    assert not result.ok
    assert host.calls == []
    reasons = " ".join(failure.reason for failure in result.failures)
    assert "n-3 on local is not well: n-3 refused the connection; n-1 is left as it is" in reasons


def test_one_that_is_not_well_itself_may_be_exchanged_whatever_the_others_do(
    host: Watchful,
) -> None:
    host.ill |= {"n-1", "n-2"}
    changed = [*nodes("new")[:1], *nodes("old")[1:]]
    run(host, changed)
    assert "ensure n-1" in host.calls


def test_they_are_restarted_one_after_the_other(host: Watchful) -> None:
    host.calls.clear()
    operate("restart", host.observe(), nodes("old"), {"local": host}, host, lambda _: None)
    assert host.calls == ["restart n-1", "restart n-2", "restart n-3"]


def test_none_is_restarted_while_another_one_is_away(host: Watchful) -> None:
    host.crash("n-3")
    host.calls.clear()
    chosen = [seen for seen in host.observe() if seen.name == "n-1"]
    with pytest.raises(DctlError, match="n-3 on local is not well: it does not run"):
        operate("restart", chosen, nodes("old"), {"local": host}, host, lambda _: None)
    assert host.calls == []


def test_replicas_that_do_not_need_each_other_are_exchanged_whatever_the_others_do(
    host: Watchful,
) -> None:
    loose = [dataclasses.replace(each, rollout=Rollout()) for each in nodes("new")]
    host.ill.add("n-3")
    run(host, [*loose[:1], *nodes("old")[1:]])
    assert "ensure n-1" in host.calls
