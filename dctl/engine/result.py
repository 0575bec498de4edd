"""What an apply tells: of each step while it goes on, and of all when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dctl.engine.step import Step


class Phase(StrEnum):
    """Where a step is. The last three are final."""

    WAITING = "waiting"
    ACTING = "acting"
    GATING = "gating"
    WATCHING = "watching"  # exchanged and healthy; whether it stays so is looked at for a while
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Event:
    """A step went into a phase, `elapsed` seconds after it was begun."""

    step: Step
    phase: Phase
    elapsed: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one step failed, and the last lines that the thing itself printed."""

    step: Step
    reason: str
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply did. Only steps that changed something are listed as done or not done;
    `restored` are those of them that run again as before, since their service's rollout failed.
    `halted` tells why nothing more was begun, when that was not for a failure; `silent` are the
    hosts that were left as they are, since they did not answer when it was planned, and why;
    `abandoned` are hosts that have left the spec and are out of reach, and why: nobody looks for
    them any more."""

    done: tuple[Step, ...]
    failures: tuple[Failure, ...]
    not_done: tuple[Step, ...]
    restored: tuple[Step, ...] = ()
    interrupted: bool = False
    halted: str = ""
    silent: Mapping[str, str] = field(default_factory=dict)
    abandoned: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not (self.failures or self.interrupted or self.halted or self.silent)

    def to_json(self) -> dict[str, Any]:
        """The shape in the journal."""
        return {
            "done": [step.name for step in self.done],
            "failed": {failure.step.name: failure.reason for failure in self.failures},
            "not_done": [step.name for step in self.not_done],
            "restored": [step.name for step in self.restored],
            "interrupted": self.interrupted,
            "halted": self.halted,
            "silent": dict(self.silent),
        }
