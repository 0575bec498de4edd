"""What the screen knows: plain values, fed by feeds.py, read by views.py. No Textual here."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from dctl.engine.status import Row

_EVENTS = 1_000  # what the tail keeps


class FeedState(StrEnum):
    """How a feed is: live = what is shown is true now."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed's state, and why when it is lost."""

    state: FeedState = FeedState.CONNECTING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A process in the registry. `joined` is seconds since the epoch."""

    name: str
    pid: str
    group: str
    address: str
    state: str
    health: str
    joined: float


@dataclass(frozen=True, slots=True)
class Route:
    """A route at the ingress; `target` is the service or the endpoint it leads to."""

    name: str
    host: str
    prefix: str
    target: str
    protocol: str


@dataclass(frozen=True, slots=True)
class Event:
    """An event that went through the broker."""

    sequence: int
    time: str
    type: str
    source: str
    id: str
    data: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key in Blueprint, with what its value says as text."""

    key: str
    type: str
    value: str
    revision: int


FEEDS = ("runtime", "registry", "keys", "events")


@dataclass(slots=True)
class Store:
    """All of it. `changes` counts: a view is drawn again when it moved."""

    services: Sequence[Row] = ()
    registry: dict[str, Entry] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    keys: dict[tuple[str, str], Key] = field(default_factory=dict)
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    feeds: dict[str, Feed] = field(default_factory=lambda: {name: Feed() for name in FEEDS})
    changes: int = 0

    def changed(self) -> None:
        """To be called after a change, by whoever made it."""
        self.changes += 1

    def set_feed(self, name: str, state: FeedState, reason: str = "") -> None:
        """A feed came up or was lost."""
        feed = Feed(state, reason)
        if self.feeds[name] != feed:
            self.feeds[name] = feed
            self.changed()

    @property
    def settled(self) -> bool:
        """Every feed has said its first word, good or bad."""
        return all(feed.state is not FeedState.CONNECTING for feed in self.feeds.values())

    def lost(self) -> Mapping[str, str]:
        """The feeds that are lost, and why."""
        return {n: f.reason for n, f in self.feeds.items() if f.state is FeedState.LOST}
