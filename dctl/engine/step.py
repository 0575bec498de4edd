"""One resource of a plan, and what has to happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dctl.engine.verdict import Action, Verdict
from dctl.hosts.base import Kind, Resource


class Role(StrEnum):
    """What a step is for its service."""

    PART = "part"
    STAND_IN = "stand-in"  # serves while the replicas are exchanged
    LEAVING = "leaving"  # the end of the stand-in, once all of the service stand
    MOVING = "moving"  # the end of a replica on its old host, start-first


@dataclass(frozen=True, slots=True)
class Step:
    """One resource and what has to happen to it. A deletion has no `resource`; `before` is the
    resource as it runs until then, if that is known."""

    kind: Kind
    name: str
    host: str
    service: str
    verdict: Verdict
    resource: Resource | None = None
    before: Resource | None = None
    role: Role = Role.PART

    @property
    def changes(self) -> bool:
        return self.verdict.action is not Action.NONE
