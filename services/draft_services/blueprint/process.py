"""What the registry knows of a process, as a value, and filters over such values.

In the registry's stream an entry's key is (service name, instance), so that a service which
registers again under the same instance replaces its entry in one write. The value is JSON: an
operator can read it, and a field that an older Blueprint does not know does not disturb it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum

from draft_services.engine.store import Key

INSTANCE = "draft.instance"  # the label that names a replica in a stable way


class RunningState(IntEnum):
    """How far a process is in its life; the numbers are those of the wire."""

    UNKNOWN = 0
    STARTING = 1
    TESTING = 2
    RUNNING = 3
    DISCONNECTED = 4


class HealthState(IntEnum):
    """Whether a process can do its work; the numbers are those of the wire."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


@dataclass(frozen=True, slots=True)
class Process:
    """One registered process. Times are nanoseconds since 1970."""

    pid: str
    name: str
    group: str = ""
    address: str = ""
    process_kind: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    location: tuple[float, float] | None = None
    joined_ns: int = 0
    running_state: int = RunningState.STARTING
    health_state: int = HealthState.UNKNOWN
    """In its own words, or unhealthy because it is silent."""
    observed_state: int = HealthState.UNKNOWN
    """As somebody else last reported it, at `observed_ns`."""
    observed_ns: int = 0

    @property
    def key(self) -> Key:
        """Where it is kept: one entry for each instance of a service."""
        return Key(self.name, self.metadata.get(INSTANCE) or self.pid)

    @property
    def health(self) -> int:
        """Unhealthy if it says so itself or somebody else does, else in its own words."""
        return max(self.health_state, self.observed_state)

    @property
    def connected(self) -> bool:
        """Whether it shows signs of life."""
        return self.running_state != RunningState.DISCONNECTED

    def encode(self) -> bytes:
        """As it is stored."""
        return json.dumps(asdict(self), separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, stored: bytes) -> Process:
        """From what is stored."""
        raw = json.loads(stored)
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in raw.items() if name in known}
        if values.get("location") is not None:
            values["location"] = tuple(values["location"])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Details:
    """What a living process says about itself; what is unset keeps what is known."""

    running_state: int = 0
    health_state: int = 0
    process_kind: int = 0
    address: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    location: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on processes; everything that is set has to hold."""

    pid: str | None = None
    group: str | None = None
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    health_state: int = 0

    def matches(self, process: Process) -> bool:
        """Whether the process fulfils it."""
        return (
            (self.pid is None or process.pid == self.pid)
            and (self.group is None or process.group == self.group)
            and (not self.name or process.name == self.name)
            and (not self.health_state or process.health == self.health_state)
            and self.metadata.items() <= process.metadata.items()
        )
