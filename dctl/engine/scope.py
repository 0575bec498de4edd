"""A part of a cluster that is meant alone: some services, some hosts. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from dctl.engine.rollout import EXCHANGES
from dctl.engine.step import Step
from dctl.errors import NotFoundError
from dctl.hosts.base import RUN_FROM, key_of, machine_of


class _Ours(Protocol):
    @property
    def service(self) -> str: ...
    @property
    def host(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Names of services and of hosts, wildcards allowed. Without names of a sort all of that sort
    are meant; without any names it is the whole cluster, and false."""

    services: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.services or self.hosts)

    def __str__(self) -> str:
        sorts = (("service", self.services), ("host", self.hosts))
        return " on ".join(
            f"{sort}{'s' if len(names) > 1 else ''} {', '.join(names)}"
            for sort, names in sorts
            if names
        )

    def covers(self, thing: _Ours) -> bool:
        """Whether a resource, a step or what was seen is meant."""
        return self.reaches(thing.host) and _any(self.services, thing.service)

    def reaches(self, host: str) -> bool:
        """Whether what is on a host may be meant."""
        return _any(self.hosts, machine_of(host))

    def refuse_unknown(self, services: Iterable[str], hosts: Iterable[str]) -> None:
        """Raise NotFoundError unless each name is that of something."""
        sorts = (("service", self.services, services), ("host", self.hosts, hosts))
        for sort, names, known in sorts:
            there = sorted(set(known))
            for name in names:
                if not any(fnmatchcase(one, name) for one in there):
                    near = difflib.get_close_matches(name, there, n=1)
                    raise NotFoundError(
                        f'there is no {sort} "{name}"'
                        + (f'; did you mean "{near[0]}"?' if near else ""),
                        hint=f"there are: {', '.join(there)}",
                    )

    def to_json(self) -> dict[str, Any] | None:
        """None for the whole cluster."""
        return {"services": [*self.services], "hosts": [*self.hosts]} if self else None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Scope:
        return cls(tuple(value["services"]), tuple(value["hosts"])) if value else cls()


WHOLE = Scope()


def within(steps: Sequence[Step], scope: Scope) -> list[Step]:
    """The steps of what is in `scope`, and of what that needs: what it runs from, and what is not
    there or does not run. A need that runs, if not as it is asked for, is left as it is."""
    by_name = {step.name: step for step in steps if step.resource}
    left = [step for step in steps if scope.covers(step)]
    chosen = set()
    while left:
        step = left.pop()
        if (key := key_of(step)) in chosen:
            continue
        chosen.add(key)
        needs = step.resource.needs if step.resource else ()
        left += [
            other
            for other in (by_name.get(need.resource) for need in needs)
            if other and _comes_along(other, scope)
        ]
    return [step for step in steps if key_of(step) in chosen]


def _comes_along(step: Step, scope: Scope) -> bool:
    if step.kind in RUN_FROM:
        return True
    return scope.reaches(step.host) and step.verdict.action not in EXCHANGES


def _any(patterns: Sequence[str], name: str) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
