"""A part of a cluster that is meant alone."""

import dataclasses

import pytest

from dctl.engine.change import Intent, change
from dctl.engine.plan import make_plan
from dctl.engine.result import Result
from dctl.engine.scope import WHOLE, Scope
from dctl.engine.sight import Sight, look
from dctl.errors import NotFoundError, UnreachableError
from dctl.hosts.base import Kind, Need, Resource, Rollout
from dctl.hosts.fake import FakeHost


def part(name: str, host: str = "core-1", *, argv: str = "a", needs: str = "") -> Resource:
    service = name.rpartition("-")[0]
    need = (Need(needs),) if needs else ()
    return Resource(Kind.PROCESS, name, host, service, {"argv": [argv]}, needs=need)


def apply(hosts: dict[str, FakeHost], asked: list[Resource], scope: Scope = WHOLE) -> Result:
    sight = look({name: [host] for name, host in hosts.items()})
    plan = make_plan("shop", asked, sight, scope)
    return change(Intent("apply"), hosts, hosts["core-1"], lambda: plan)


def running(hosts: dict[str, FakeHost]) -> dict[str, str]:
    """The argument of each process."""
    return {
        seen.name: (seen.spec or {})["argv"][0]
        for host in hosts.values()
        for seen in host.observe()
    }


def released(hosts: dict[str, FakeHost]) -> list[dict[str, str]]:
    """The same of each release."""
    return [
        {r["name"]: r["spec"]["argv"][0] for r in release["resources"]}
        for release in hosts["core-1"].releases()
    ]


@pytest.fixture
def hosts() -> dict[str, FakeHost]:
    """cart-1, cart-2 and mail-1 run on two hosts, and are a release."""
    hosts = {name: FakeHost("shop", name) for name in ("core-1", "core-2")}
    assert apply(hosts, THREE).ok
    return hosts


THREE = [part("cart-1"), part("cart-2", "core-2"), part("mail-1")]
OTHER = [part("cart-1", argv="b"), part("cart-2", "core-2", argv="b"), part("mail-1", argv="b")]


@pytest.mark.parametrize(
    ("services", "hosts", "changed"),
    [
        ((), (), ["cart-1", "cart-2", "mail-1"]),
        (("cart",), (), ["cart-1", "cart-2"]),
        (("mail", "ca*"), (), ["cart-1", "cart-2", "mail-1"]),
        ((), ("core-1",), ["cart-1", "mail-1"]),
        (("cart",), ("core-1",), ["cart-1"]),
        (("mail",), ("core-2",), []),
    ],
)
def test_services_and_hosts_narrow_a_plan_together_and_several_of_a_sort_widen_it(
    services: tuple[str, ...], hosts: tuple[str, ...], changed: list[str]
) -> None:
    plan = make_plan("shop", OTHER, Sight(), Scope(services, hosts))
    assert [step.name for step in plan.changed] == changed
    assert plan.left_out == 3 - len(changed) if services or hosts else plan.left_out == 0
    assert sorted(r.name for r in plan.asked) == ["cart-1", "cart-2", "mail-1"]


def test_what_a_host_is_to_run_from_is_of_that_host() -> None:
    software = Resource(Kind.SOFTWARE, "core 1", "core-1/software", "core", {"folder": "/opt"})
    plan = make_plan("shop", [software], Sight(), Scope(hosts=("core-1",)))
    assert [step.name for step in plan.changed] == ["core 1"]


def test_what_is_needed_on_another_host_than_those_that_are_meant_does_not_come_along() -> None:
    asked = [part("db-1", "core-2"), part("cart-1", needs="db-1")]
    names = [s.name for s in make_plan("shop", asked, Sight(), Scope(hosts=("core-1",))).steps]
    assert names == ["cart-1"]
    assert len(make_plan("shop", asked, Sight(), Scope(services=("cart",))).steps) == 2


def test_a_stand_in_is_made_on_no_host_that_is_not_meant(hosts: dict[str, FakeHost]) -> None:
    rollout = Rollout(stand_in=part("cart-next", argv="b"))
    asked = [dataclasses.replace(r, rollout=rollout) for r in OTHER]
    sight = look({name: [host] for name, host in hosts.items()})

    def names(scope: Scope) -> list[str]:
        return [step.name for step in make_plan("shop", asked, sight, scope).changed]

    assert names(Scope(("cart",), ("core-2",))) == ["cart-2"]
    assert names(Scope(("cart",), ("core-1",))) == ["cart-next", "cart-1", "cart-next"]


def test_a_host_that_is_silent_is_only_told_where_something_of_it_is_meant() -> None:
    gone = UnreachableError("core-2 does not answer")
    sight = Sight(silent={"core-2": gone}, unseen=frozenset({"core-2"}))

    def silent(*services: str, hosts: tuple[str, ...] = ()) -> bool:
        return bool(make_plan("shop", THREE, sight, Scope(services, hosts)).silent)

    assert silent()
    assert silent("cart")
    assert silent(hosts=("core-2",))
    assert not silent("mail")
    assert not silent("cart", hosts=("core-1",))


def test_a_name_of_nothing_is_refused_with_what_was_meant_and_what_there_is() -> None:
    with pytest.raises(NotFoundError, match='no service "crat"; did you mean "cart"') as caught:
        Scope(("crat",)).refuse_unknown(["cart", "mail"], ["core-1"])
    assert caught.value.hint == "there are: cart, mail"
    with pytest.raises(NotFoundError, match=r'no host "edge-\*"'):
        Scope(hosts=("edge-*",)).refuse_unknown([], ["core-1"])
    Scope(("c?rt",), ("core-1",)).refuse_unknown(["cart"], ["core-1"])


def test_all_that_is_not_meant_is_left_as_it_is(hosts: dict[str, FakeHost]) -> None:
    assert apply(hosts, [*OTHER[:2], part("new-1")], Scope(("cart",))).ok
    assert running(hosts) == {"cart-1": "b", "cart-2": "b", "mail-1": "a"}


def test_a_release_of_a_part_says_of_the_rest_what_was_asked_for_before(
    hosts: dict[str, FakeHost],
) -> None:
    assert apply(hosts, [*OTHER[1:], part("new-1")], Scope(("cart",))).ok  # cart-1 goes
    assert released(hosts)[-1] == {"cart-2": "b", "mail-1": "a"}
    assert apply(hosts, [*OTHER[1:], part("new-1")]).ok
    assert released(hosts)[-1] == {"cart-2": "b", "mail-1": "b", "new-1": "a"}
    assert len(released(hosts)) == 3


def test_a_part_that_is_as_it_was_leaves_no_release(hosts: dict[str, FakeHost]) -> None:
    assert apply(hosts, [*THREE[:2], *OTHER[2:]], Scope(("cart",))).ok
    assert len(released(hosts)) == 1


def test_a_release_of_a_part_keeps_what_is_run_from_as_long_as_something_does() -> None:
    hosts = {"core-1": FakeHost("shop", "core-1"), "images": FakeHost("shop", "images")}

    def asked(tag: str) -> list[Resource]:
        images = [
            Resource(Kind.IMAGE, f"{name}:{tag}", "images", name, {"argv": [tag]})
            for name in ("cart", "mail")
        ]
        return [*images, *(part(f"{i.service}-1", argv=tag, needs=i.name) for i in images)]

    apply(hosts, asked("1"))
    apply(hosts, asked("2"), Scope(hosts=("core-1",)))
    assert {*released(hosts)[-1]} == {"cart:2", "mail:2", "cart-1", "mail-1"}
    apply(hosts, asked("3"), Scope(("mail",)))
    assert {*released(hosts)[-1]} == {"cart:2", "mail:3", "cart-1", "mail-1"}
