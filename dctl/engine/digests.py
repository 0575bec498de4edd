"""The digests of secrets in what is asked: of the values as they are now, or as they were given.
Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping

from dctl.engine.runtimes import Restored
from dctl.hosts.base import Json, Observed, Resource, key_of

_SORTS = ("digests", "shared")
"""Where digests stand in what is asked: of what is delivered, and of what is only compared."""


def with_digests(
    resources: Iterable[Resource], digest: Callable[[Resource, str], str]
) -> list[Resource]:
    """The same resources, each secret with the digest that it has for it."""
    return [_with_digests(resource, digest) for resource in resources]


def as_given(asked: Iterable[Resource], things: Iterable[Observed]) -> list[Resource]:
    """What is asked, without asking what the secrets are now: each counts as the one that was
    given."""
    there = {key_of(seen): _digests(seen.spec) for seen in things}
    return with_digests(asked, lambda resource, name: there.get(key_of(resource), {}).get(name, ""))


def with_todays_secrets(
    there: Restored, declared: Collection[str], digest: Callable[[Resource, str], str]
) -> Restored:
    """What can be had again of an earlier time, with the secrets of today: those of then are kept
    nowhere."""
    before = {(r.name, n): d for r in there.resources for n, d in _digests(r.spec).items()}
    if unknown := sorted({name for _, name in before} - set(declared)):
        words = (f"the secret {name} is no longer declared in the spec" for name in unknown)
        return dataclasses.replace(there, lacking=(*there.lacking, *words))
    now = with_digests(there.resources, digest)
    other = {n for r in now for n, d in _digests(r.spec).items() if before[r.name, n] != d}
    words = (f"the secret {name} has its value of today" for name in sorted(other))
    return Restored(tuple(now), (*there.otherwise, *words), there.lacking)


def _digests(spec: Mapping[str, Json] | None) -> Mapping[str, str]:
    return {name: d for sort in _SORTS for name, d in ((spec or {}).get(sort) or {}).items()}


def _with_digests(resource: Resource, digest: Callable[[Resource, str], str]) -> Resource:
    rollout = resource.rollout
    if rollout and rollout.stand_in:
        rollout = dataclasses.replace(rollout, stand_in=_with_digests(rollout.stand_in, digest))
    found = {
        sort: {name: digest(resource, name) for name in names}
        for sort in _SORTS
        if (names := resource.spec.get(sort))
    }
    return dataclasses.replace(resource, spec={**resource.spec, **found}, rollout=rollout)
