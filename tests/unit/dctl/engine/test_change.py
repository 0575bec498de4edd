"""One change of a cluster of several hosts, and what is kept of it."""

import dataclasses

from dctl.engine.change import Intent, change
from dctl.engine.plan import make_plan
from dctl.engine.result import Result
from dctl.engine.scope import Scope
from dctl.engine.sight import look
from dctl.hosts.base import Kind, Resource
from dctl.hosts.fake import FakeHost


def asked(name: str, host: str) -> Resource:
    return Resource(Kind.PROCESS, name, host, name.rpartition("-")[0], {"argv": [name]})


def apply(hosts: dict[str, FakeHost], *resources: Resource, **intent: object) -> Result:
    """With the first of `hosts` as the one that keeps the books."""
    sight = look({name: [host] for name, host in hosts.items()})
    first = next(iter(hosts.values()))
    plan = make_plan("shop", resources, sight)
    meant = dataclasses.replace(Intent("apply"), **intent)  # type: ignore[arg-type]
    return change(meant, hosts, first, lambda: plan)


def fleet(*names: str) -> dict[str, FakeHost]:
    return {name: FakeHost("shop", name) for name in names}


def test_a_secret_that_the_first_host_makes_is_the_secret_of_every_host_that_is_changed() -> None:
    hosts = fleet("core-1", "core-2", "idle-1")
    apply(hosts, asked("a-1", "core-1"), asked("b-1", "core-2"), secrets=lambda: {"nonce": ""})
    assert hosts["core-2"].kept == hosts["core-1"].kept != {}
    assert hosts["idle-1"].kept == {}


def test_a_new_value_of_a_secret_waits_for_a_change_of_the_whole_cluster() -> None:
    hosts = fleet("core-1", "core-2")
    apply(hosts, asked("a-1", "core-1"), secrets=lambda: {"nonce": "old"})
    both = asked("a-1", "core-1"), asked("b-1", "core-2")
    sight = look({name: [host] for name, host in hosts.items()})
    part = make_plan("shop", both, sight, Scope(hosts=("core-2",)))
    change(Intent("apply", secrets=lambda: {"nonce": "new"}), hosts, hosts["core-1"], lambda: part)
    assert [host.kept for host in hosts.values()] == [{"nonce": "old"}, {"nonce": "old"}]
    other = [dataclasses.replace(r, spec={"argv": ["b"]}) for r in both]
    apply(hosts, *other, secrets=lambda: {"nonce": "new"})
    assert [host.kept for host in hosts.values()] == [{"nonce": "new"}, {"nonce": "new"}]


def test_what_is_a_services_own_goes_only_where_that_service_is() -> None:
    hosts = fleet("core-1", "core-2", "core-3")
    secrets = {"nonce": "n", "tls-a": "A", "tls-b": "B", "nonce-b": "N"}
    apply(hosts, asked("a-1", "core-2"), asked("b-1", "core-3"), secrets=lambda: secrets)
    assert hosts["core-1"].kept == secrets
    assert hosts["core-2"].kept == {"nonce": "n", "tls-a": "A"}
    assert hosts["core-3"].kept == {"nonce": "n", "tls-b": "B", "nonce-b": "N"}


def test_the_books_are_with_the_first_host_alone() -> None:
    hosts = fleet("core-1", "core-2")
    apply(hosts, asked("b-1", "core-2"))
    assert len(hosts["core-1"].releases()) == 1
    assert hosts["core-2"].journal() == hosts["core-2"].releases() == []
