"""How much may be held, decided before the engine is in danger. Pure.

An engine that is full takes nothing any more, not even a removal, and one whose disk is full has to
be started anew. So what grows is refused in time; what shrinks never is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MIB = 1024 * 1024
_MORE = "delete some, or raise core.blueprint.config.{} in the spec"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that there may be; see `settings`."""

    keys: int
    bytes: int
    store: int
    value: int = MIB
    watchers: int = 10_000


class Held(NamedTuple):
    """What there is: keys, their bytes, and what the engine keeps of them, history included."""

    keys: int
    bytes: int
    stored: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write: `size` bytes in the place of `before`, None where nothing is. `replaces`: it takes
    the history along, as one with a TTL does."""

    size: int
    before: int | None
    replaces: bool

    @property
    def keys(self) -> int:
        """How many keys there are more, after it."""
        return int(self.before is None)

    @property
    def bytes(self) -> int:
        """How many bytes there are more, after it."""
        return self.size - (self.before or 0)


def too_many_watches(open_: int, limit: int) -> str:
    """Why there must not be one more."""
    return (
        f"{open_:,} watches are open, and the limit is {limit:,}: end some, or raise "
        "core.blueprint.config.max_watchers in the spec"
    )


def refusal(limits: Limits, held: Held, write: Write) -> str:
    """Why a write must not be, in words; "" when it may."""
    if write.keys and held.keys >= limits.keys:
        return f"{held.keys:,} keys are held, and the limit is {limits.keys:,}: " + _MORE.format(
            "max_keys"
        )
    if write.bytes > 0 and held.bytes + write.bytes > limits.bytes:
        return (
            f"keys and values take {held.bytes:,} bytes, this would add {write.bytes:,}, and the "
            f"limit is {limits.bytes:,}: " + _MORE.format("max_bytes")
        )
    # A lock that is renewed takes no more room than it had.
    grows = write.bytes > 0 or not write.replaces or write.before is None
    if grows and held.stored + write.size > limits.store:
        return (
            f"the engine keeps {held.stored:,} bytes of keys and of what they were before, and the "
            f"limit is {limits.store:,}: " + _MORE.format("max_store")
        )
    return ""
