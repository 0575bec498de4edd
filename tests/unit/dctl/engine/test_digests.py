"""Digests of secrets in what is asked and in what is told of it."""

import dataclasses

from dctl.engine.digests import as_given, with_digests, with_todays_secrets
from dctl.engine.runtimes import Restored
from dctl.engine.verdict import Action, Change, verdict
from dctl.hosts.base import Json, Kind, Observed, Resource, Rollout, State


def asked(name: str = "a-1", **digests: str) -> Resource:
    return Resource(Kind.PROCESS, name, "local", "a", {"env": {}, "digests": digests})


def seen(**digests: str) -> Observed:
    spec: Json = {"env": {}, "digests": digests}
    return Observed(Kind.PROCESS, "a-1", "local", State.RUNNING, "shop", spec=spec)


def digests(resource: Resource) -> Json:
    return resource.spec["digests"]


def test_a_changed_secret_is_told_by_its_name_and_not_by_its_digest() -> None:
    judged = verdict(asked(db="d2", key="k1"), seen(db="d1", key="k1"), "shop")
    assert judged.action is Action.UPDATE
    assert judged.changes == (Change("secret db", "(hidden)", "(hidden)"),)
    container = dataclasses.replace(asked(db="d2"), kind=Kind.CONTAINER)
    there = dataclasses.replace(seen(db="d1"), kind=Kind.CONTAINER)
    assert verdict(container, there, "shop").action is Action.REPLACE


def test_a_secret_that_is_only_compared_is_told_and_kept_in_mind_like_one_that_is_given() -> None:
    def told(digest: str) -> Json:
        return {"env": {}, "digests": {"db": "d1"}, "shared": {"nonce": digest}}

    there = dataclasses.replace(seen(), spec=told("n1"))
    resource = dataclasses.replace(asked(), spec=told(""))
    (same,) = as_given([resource], [there])
    assert verdict(same, there, "shop").action is Action.NONE
    (other,) = with_digests([resource], lambda _, name: {"db": "d1", "nonce": "n2"}[name])
    judged = verdict(other, there, "shop")
    assert judged.action is Action.UPDATE
    assert judged.changes == (Change("secret nonce", "(hidden)", "(hidden)"),)


def test_a_secret_that_comes_or_goes_is_told() -> None:
    assert verdict(asked(db="d"), seen(), "shop").changes == (
        Change("secret db", None, "(hidden)"),
    )
    assert verdict(asked(), seen(db="d"), "shop").changes == (
        Change("secret db", "(hidden)", None),
    )


def test_without_asking_what_secrets_are_each_counts_as_the_one_that_was_given() -> None:
    (same,) = as_given([asked(db="")], [seen(db="d1")])
    assert verdict(same, seen(db="d1"), "shop").action is Action.NONE
    (more,) = as_given([asked(db="", key="")], [seen(db="d1")])
    assert verdict(more, seen(db="d1"), "shop").action is Action.UPDATE
    assert as_given([asked("a-2", db="")], [seen(db="d1")]) == [asked("a-2", db="")]


def test_a_stand_in_gets_its_digests_too() -> None:
    stand_in = asked("a-next", db="")
    whole = dataclasses.replace(asked(db=""), rollout=Rollout(stand_in=stand_in))
    (made,) = with_digests([whole], lambda resource, name: f"{resource.name} {name}")
    assert digests(made) == {"db": "a-1 db"}
    assert made.rollout is not None
    assert made.rollout.stand_in is not None
    assert digests(made.rollout.stand_in) == {"db": "a-next db"}


def test_what_comes_back_has_the_secrets_of_today_and_says_so() -> None:
    there = Restored((asked(db="then", key="same"),), ("a sentence",))
    today = {"db": "now", "key": "same"}
    back = with_todays_secrets(there, today, lambda resource, name: today[name])
    assert digests(back.resources[0]) == today
    assert back.otherwise == ("a sentence", "the secret db has its value of today")
    assert back.lacking == ()


def test_what_needs_a_secret_that_nobody_declares_any_more_cannot_come_back() -> None:
    there = Restored((asked(db="then"),))
    back = with_todays_secrets(there, {"other"}, lambda resource, name: "")
    assert back.lacking == ("the secret db is no longer declared in the spec",)
