"""The conversation with one proxy, without any I/O.

A proxy subscribes to types of resources and to names; it is sent what differs from what it has,
and accepts (ACK) or refuses (NACK) each response as a whole. What follows from how Envoy behaves:

- Clusters, then endpoints, then listeners, then routes; removals the other way, once nothing else
  is under way: so no route ever points to a cluster that is not there.
- Envoy accepts clusters only when they are warm, and they warm by their endpoints: endpoints never
  wait for that ACK, listeners and routes do, but not forever.
- A changed cluster warms anew without asking for its endpoints again: they are sent again.
- The first request for all resources of a type is answered even when there are none.
- After a refused response of several resources each is sent alone, to find the wrong one. That
  version is not sent again; the proxy keeps serving the one before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from draft_services.fuse.xds.messages import message
from draft_services.fuse.xds.resources import (
    CLUSTER,
    ENDPOINTS,
    LISTENER,
    ORDER,
    ROUTES,
    Resource,
    Snapshot,
)

REQUEST = "envoy.service.discovery.v3.DeltaDiscoveryRequest"
RESPONSE = "envoy.service.discovery.v3.DeltaDiscoveryResponse"
ALL = "*"

# How long routes wait for clusters to warm. Longer than endpoints and a name look-up take; a name
# server that does not answer takes Envoy some 20 s, and only the routes to that name should wait.
WARMING_PATIENCE = 3.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A proxy refuses one version of one resource, in its own words."""

    node: str
    type_url: str
    name: str
    version: str
    words: str


@dataclass(slots=True)
class _Subscription:
    """What the proxy wants of one type, and has."""

    asked: bool = False
    answered: bool = False
    wildcard: bool = False
    names: set[str] = field(default_factory=set)
    # Name -> version: what the proxy has or is being sent, and what it has accepted.
    sent: dict[str, str] = field(default_factory=dict)
    accepted: dict[str, str] = field(default_factory=dict)
    # Nonce -> the versions in that response; None is a removal.
    in_flight: dict[str, dict[str, str | None]] = field(default_factory=dict)
    refused: dict[str, Refusal] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)

    def missing(self, wanted: Mapping[str, Resource]) -> list[Resource]:
        """What the proxy wants and has not in the wanted version."""
        names = wanted.keys() if self.wildcard else sorted(self.names & wanted.keys())
        return [
            wanted[name]
            for name in names
            if self.sent.get(name) != wanted[name].version and not self.refuses(wanted[name])
        ]

    def surplus(self, wanted: Mapping[str, Resource]) -> list[str]:
        """What the proxy has and should no longer."""
        return [name for name in self.sent if name not in wanted]

    def refuses(self, resource: Resource) -> bool:
        """Whether exactly this version was refused."""
        refusal = self.refused.get(resource.name)
        return refusal is not None and refusal.version == resource.version


class Session:
    """One stream of one proxy: requests in, responses out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.node = "(unnamed)"
        self._clock = clock
        self._kinds = {type_url: _Subscription() for type_url in ORDER}
        self._nonces = 0
        self._warming_since: float | None = None
        # Clusters that were sent before the proxy said which endpoints it still has.
        self._warming_early: set[str] = set()

    def receive(self, request: Any) -> list[Refusal]:
        """Take a request in; what the proxy refuses with it for good."""
        if request.node.id:
            self.node = request.node.id
        kind = self._kinds.get(request.type_url)
        if kind is None:  # a type that we never serve
            return []
        self._subscribe(request.type_url, kind, request)
        if request.type_url == ENDPOINTS:
            for name in self._warming_early:
                kind.sent.pop(name, None)
            self._warming_early.clear()
        return self._answer(request.type_url, kind, request) if request.response_nonce else []

    def outgoing(self, snapshot: Snapshot) -> Iterator[Any]:
        """The responses that can be sent now."""
        for type_url in ORDER:
            if type_url in (LISTENER, ROUTES) and self.warming_left() > 0:
                return
            yield from self._puts(type_url, snapshot[type_url])
        if self.refusals(snapshot):  # an older version is being served and needs what it refers to
            return
        for type_url in reversed(ORDER):
            if any(kind.in_flight for kind in self._kinds.values()):
                return
            kind = self._kinds[type_url]
            # Endpoints are given up by the proxy itself, with their cluster.
            if type_url != ENDPOINTS and (surplus := kind.surplus(snapshot[type_url])):
                yield self._response(type_url, [], surplus)

    def settled(self, snapshot: Snapshot) -> bool:
        """Whether the proxy has accepted all of it."""
        return not self.pending(snapshot) and not self.refusals(snapshot)

    def pending(self, snapshot: Snapshot) -> bool:
        """Whether the proxy may still accept or refuse something of it."""
        # Routes are asked for by the listener, and never by one that is refused.
        listens = not self._kinds[LISTENER].refused
        if any(kind.in_flight for kind in self._kinds.values()):
            return True
        if listens and not self._kinds[ROUTES].asked:
            return True
        held = bool(self.refusals(snapshot))  # removals wait until nothing is refused
        return any(
            kind.missing(snapshot[type_url])
            or (type_url != ENDPOINTS and not held and kind.surplus(snapshot[type_url]))
            for type_url, kind in self._kinds.items()
        )

    def refusals(self, snapshot: Snapshot) -> list[Refusal]:
        """What of it the proxy refuses."""
        return [
            refusal
            for type_url, kind in self._kinds.items()
            for name, refusal in kind.refused.items()
            if name in snapshot[type_url] and snapshot[type_url][name].version == refusal.version
        ]

    def warming_left(self) -> float:
        """For how many seconds routes still wait for clusters; 0 when they do not."""
        if not self._kinds[CLUSTER].in_flight or self._warming_since is None:
            return 0.0
        return max(0.0, self._warming_since + WARMING_PATIENCE - self._clock())

    def _subscribe(self, type_url: str, kind: _Subscription, request: Any) -> None:
        names = set(request.resource_names_subscribe)
        if not kind.asked:
            kind.sent.update(request.initial_resource_versions)
            kind.accepted.update(request.initial_resource_versions)
            # By the protocol, naming nothing in the first request for these means everything.
            kind.wildcard = ALL in names or (not names and type_url in (CLUSTER, LISTENER))
        elif ALL in names:
            kind.wildcard = True
        for name in names - {ALL}:
            kind.names.add(name)
            if kind.asked or name not in request.initial_resource_versions:
                kind.sent.pop(name, None)  # asked for anew: it wants an answer
        for name in request.resource_names_unsubscribe:
            kind.names.discard(name)
            for known in (kind.sent, kind.accepted, kind.refused):
                known.pop(name, None)
        kind.asked = True

    def _answer(self, type_url: str, kind: _Subscription, request: Any) -> list[Refusal]:
        versions = kind.in_flight.pop(request.response_nonce, None)
        if versions is None:
            return []
        if not request.HasField("error_detail"):
            for name, version in versions.items():
                kind.alone.discard(name)
                kind.refused.pop(name, None)
                _note(kind.accepted, name, version)
            return []
        refusals = []
        for name, version in versions.items():
            if kind.sent.get(name) == version:  # nothing newer is on its way
                _note(kind.sent, name, kind.accepted.get(name))
            if len(versions) > 1:
                kind.alone.add(name)
            elif version is not None:
                words = request.error_detail.message
                kind.refused[name] = Refusal(self.node, type_url, name, version, words)
                refusals.append(kind.refused[name])
        return refusals

    def _puts(self, type_url: str, wanted: Mapping[str, Resource]) -> Iterator[Any]:
        kind = self._kinds[type_url]
        if not kind.asked:
            return
        missing = kind.missing(wanted)
        together = [resource for resource in missing if resource.name not in kind.alone]
        first = kind.wildcard and not kind.answered
        if together or first:
            yield self._put(type_url, together)
        for resource in missing:
            if resource.name in kind.alone:
                yield self._put(type_url, [resource])

    def _put(self, type_url: str, resources: list[Resource]) -> Any:
        if type_url == CLUSTER:
            if not self._kinds[CLUSTER].in_flight:
                self._warming_since = self._clock()
            endpoints = self._kinds[ENDPOINTS]
            for resource in resources:
                endpoints.sent.pop(resource.name, None)
                if not endpoints.asked:
                    self._warming_early.add(resource.name)
        return self._response(type_url, resources, [])

    def _response(self, type_url: str, resources: list[Resource], removed: list[str]) -> Any:
        kind = self._kinds[type_url]
        self._nonces += 1
        nonce = str(self._nonces)
        versions: dict[str, str | None] = {r.name: r.version for r in resources}
        versions |= dict.fromkeys(removed)
        for name, version in versions.items():
            _note(kind.sent, name, version)
        kind.in_flight[nonce] = versions
        kind.answered = True
        return message(RESPONSE)(
            type_url=type_url,
            nonce=nonce,
            resources=[
                {
                    "name": r.name,
                    "version": r.version,
                    "resource": {"type_url": type_url, "value": r.body},
                }
                for r in resources
            ],
            removed_resources=removed,
        )


def _note(versions: dict[str, str], name: str, version: str | None) -> None:
    """Set the version of a name; None removes it."""
    if version is None:
        versions.pop(name, None)
    else:
        versions[name] = version
