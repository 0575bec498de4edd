"""Admits changes: pushes them, waits, takes back what a proxy refuses.

Changes of routes and descriptors are tried in groups: all that have arrived since the last group.
When a proxy refuses a group it is cut, the newest changes first, until what is wrong stands alone;
that one is left out and everything else serves. Processes coming and going change only endpoints,
which are pushed at once and wait for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from draft_services.fuse.routes import Endpoint, Route
from draft_services.fuse.translate.clusters import Services, cluster_name, cluster_resources
from draft_services.fuse.translate.listener import listener
from draft_services.fuse.translate.virtual_hosts import route_configuration
from draft_services.fuse.xds.fleet import Fleet, Settlement
from draft_services.fuse.xds.resources import CLUSTER, ROUTES, Resource, snapshot
from draft_services.fuse.xds.session import Refusal

log = logging.getLogger(__name__)

# A proxy answers in milliseconds; one that does not by then is frozen.
PATIENCE = 2.0


class Kind(enum.Enum):
    """What a change is about."""

    ROUTE = "route"
    DESCRIPTORS = "descriptors of"


@dataclass(frozen=True, slots=True)
class Change:
    """One key of Blueprint has a new value; None: it is gone."""

    kind: Kind
    name: str
    value: Route | bytes | None
    revision: int

    @property
    def key(self) -> tuple[Kind, str]:
        """What it replaces."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change: refused in a proxy's words, or served by all but those behind."""

    refused: str = ""
    behind: tuple[str, ...] = ()


@dataclass(eq=False, slots=True)
class Follower:
    """Waits for what becomes of the changes of one route."""

    _reached: dict[int, Outcome] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def outcome(self, revision: int) -> Outcome:
        """Of the change with this revision, or of the later one that replaced it."""
        while not (later := [r for r in self._reached if r >= revision]):
            self._moved.clear()
            await self._moved.wait()
        return self._reached[min(later)]

    def report(self, revision: int, outcome: Outcome) -> None:
        """Say what became of a change."""
        self._reached[revision] = outcome
        self._moved.set()


Changes = dict[tuple[Kind, str], Change]


class Publisher:
    """Keeps the fleet at what the mirror of Blueprint says."""

    def __init__(
        self,
        fleet: Fleet,
        listen: Endpoint,
        cors_origins: Iterable[str] = (),
        *,
        tls: bool = False,
    ) -> None:
        self._fleet = fleet
        self._tls = tls
        self._listener = listener(listen)
        self._cors_origins = tuple(cors_origins)
        self._services: Services = {}
        # What proxies have confirmed, what waits for a confirmation, what is yet to be tried.
        self._good: Changes = {}
        self._unconfirmed: Changes = {}
        self._pending: Changes = {}
        self._routing: tuple[Resource, list[Route]] | None = None
        self._wake = asyncio.Event()
        self._followers: dict[str, set[Follower]] = {}
        fleet.on_refusal = self._on_refusal

    def change(self, changes: Iterable[Change]) -> None:
        """Take in changes, to be tried as soon as the ones before are through."""
        self._pending.update((change.key, change) for change in changes)
        self._wake.set()

    def set_services(self, services: Services) -> None:
        """Replace what is known of the processes of each service."""
        self._services = services
        if self._routing is not None:
            self._publish()

    @contextlib.contextmanager
    def following(self, route: str) -> Iterator[Follower]:
        """Collect what becomes of the changes of a route, from now on."""
        follower = Follower()
        self._followers.setdefault(route, set()).add(follower)
        try:
            yield follower
        finally:
            self._followers[route].discard(follower)
            if not self._followers[route]:
                del self._followers[route]

    async def run(self) -> None:
        """Publish and admit until cancelled. Start it once everything is loaded: the first
        snapshot replaces all that a proxy serves."""
        while True:
            # Whoever has not confirmed yet is asked about these again.
            group, self._unconfirmed = self._unconfirmed | self._pending, {}
            self._pending = {}
            await self._admit(sorted(group.values(), key=lambda change: change.revision))
            await self._wake.wait()
            self._wake.clear()

    async def _admit(self, group: list[Change]) -> None:
        waiting = [(group, 1)]
        while waiting:
            changes, newest = waiting.pop()
            settlement = await self._try(changes)
            if not settlement.refusals:
                self._accept(changes, settlement)
            elif len(changes) <= 1:
                self._reject(changes, settlement.refusals[0].words)
            else:
                cut = max(1, len(changes) - newest)
                waiting += [(changes[cut:], 1), (changes[:cut], 2 * newest)]

    async def _try(self, changes: list[Change]) -> Settlement:
        self._route({change.key: change for change in changes})
        routes = [change.value for change in changes if isinstance(change.value, Route)]
        clusters = {cluster_name(route.upstream) for route in routes}

        def can_be_blamed(refusal: Refusal) -> bool:
            """Not for a taken port, nor for what the registry says."""
            if refusal.type_url == CLUSTER:
                return refusal.name in clusters
            return refusal.type_url == ROUTES

        return await self._fleet.settle(PATIENCE, can_be_blamed)

    def _accept(self, changes: list[Change], settlement: Settlement) -> None:
        self._unconfirmed.update((change.key, change) for change in changes)
        if settlement.accepted:
            self._good = _overlay(self._good, self._unconfirmed)
            self._unconfirmed = {}
        for change in changes:
            self._report(change, Outcome(behind=settlement.behind))

    def _reject(self, changes: list[Change], words: str) -> None:
        self._route({})
        for change in changes:
            log.error("%s %s left out: a proxy refuses it", change.kind.value, change.name)
            self._report(change, Outcome(refused=words))

    def _report(self, change: Change, outcome: Outcome) -> None:
        if change.kind is Kind.ROUTE:
            for follower in self._followers.get(change.name, ()):
                follower.report(change.revision, outcome)

    def _on_refusal(self, _: Refusal) -> None:
        """A proxy that came late refuses what nobody has confirmed: find out which of it."""
        if self._unconfirmed:
            self._wake.set()

    def _route(self, trial: Changes) -> None:
        """Publish the routes that serve, with these changes."""
        state = _overlay(_overlay(self._good, self._unconfirmed), trial).values()
        routes = [change.value for change in state if isinstance(change.value, Route)]
        descriptors = {c.name: c.value for c in state if isinstance(c.value, bytes)}
        self._routing = route_configuration(routes, descriptors, self._cors_origins), routes
        self._publish()

    def _publish(self) -> None:
        assert self._routing is not None
        configuration, routes = self._routing
        upstreams = {route.upstream for route in routes}
        clusters = cluster_resources(upstreams, self._services, tls=self._tls)
        self._fleet.publish(snapshot([*clusters, self._listener, configuration]))


def _overlay(below: Changes, above: Changes) -> Changes:
    """The later state of each key, without those that are gone."""
    return {key: change for key, change in (below | above).items() if change.value is not None}
