"""The mirror of Blueprint's routes, descriptors and processes.

It follows three watches and hands every change to the publisher. When Blueprint is away the mirror
keeps what it knows; once it is back only differences are handed on. Nothing is ever taken away
because Blueprint cannot be reached.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable

from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as discovery
from google.protobuf.message import DecodeError

from draft_services.fuse import descriptors, routes
from draft_services.fuse.blueprint import (
    DESCRIPTORS,
    ROUTE,
    Blueprint,
    BlueprintError,
    KeyChange,
    Known,
)
from draft_services.fuse.publisher import Change, Kind, Publisher
from draft_services.fuse.translate.clusters import Instance

log = logging.getLogger(__name__)

FIRST_WAIT = 0.1
LONGEST_WAIT = 2.0


class NotCurrentError(Exception):
    """What is known here may no longer be what Blueprint says."""


class Mirror:
    """What Blueprint says, as far as it is known here."""

    def __init__(
        self,
        blueprint: Blueprint,
        publisher: Publisher,
        on_connected: Callable[[], Awaitable[None]],
    ) -> None:
        self._blueprint = blueprint
        self._publisher = publisher
        self._on_connected = on_connected
        self._routes: Known = {}
        self._descriptors: Known = {}
        self._instances: dict[str, tuple[str, Instance]] = {}  # pid -> service, instance
        self._unloaded = {ROUTE, DESCRIPTORS, "processes"}
        self._broken = dict.fromkeys(("routes", "descriptors", "processes"), "not read yet")
        self._loaded = asyncio.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether everything has been read once."""
        return self._loaded.is_set()

    async def loaded(self) -> None:
        """Return once everything has been read."""
        await self._loaded.wait()

    def route(self, name: str) -> networking.Route | None:
        """The stored route of this name."""
        stored = self._routes.get(name)
        return _decoded(stored[1]) if stored else None

    def has_route(self, name: str) -> bool:
        """Whether a route of this name is stored."""
        return name in self._routes

    @property
    def count(self) -> int:
        """How many routes are stored."""
        return len(self._routes)

    def routes(self) -> list[networking.Route]:
        """Every stored route that can be read, by name."""
        stored = (self._routes[name][1] for name in sorted(self._routes))
        return [route for value in stored if (route := _decoded(value)) is not None]

    async def current(self) -> None:
        """Return if all three are followed and Blueprint serves; raises why not."""
        for what, why in self._broken.items():
            raise NotCurrentError(f"{what}: {why}")
        if why := await self._blueprint.why_not_serving():
            raise NotCurrentError(f"Blueprint does not serve, what is served stays as it is: {why}")

    async def follow(self) -> None:
        """Follow all three until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._again("routes", self._follow_routes))
            group.create_task(self._again("descriptors", self._follow_descriptors))
            group.create_task(self._again("processes", self._follow_processes))

    async def _follow_routes(self) -> AsyncIterator[None]:
        connected = False
        async for changes in self._blueprint.watch_keys(ROUTE, self._routes):
            self._publisher.change([c for key in changes if (c := _route_change(key)) is not None])
            self._mark_loaded(ROUTE)
            if not connected:
                connected = True
                await self._on_connected()
            yield

    async def _follow_descriptors(self) -> AsyncIterator[None]:
        async for changes in self._blueprint.watch_keys(DESCRIPTORS, self._descriptors):
            found = [c for key in changes if (c := _descriptors_change(key)) is not None]
            self._publisher.change(found)
            self._mark_loaded(DESCRIPTORS)
            yield

    async def _follow_processes(self) -> AsyncIterator[None]:
        fresh: dict[str, tuple[str, Instance]] | None = {}
        kinds = discovery.WatchResponse.Kind
        async for response in self._blueprint.watch_processes():
            if response.kind == kinds.KIND_SYNCED:
                self._set_instances(fresh or {})
                fresh = None
                self._mark_loaded("processes")
                yield
                continue
            pid = response.process.pid
            instances = dict(self._instances) if fresh is None else fresh
            instances.pop(pid, None)
            if response.kind == kinds.KIND_PUT and (found := _instance(response.process)):
                instances[pid] = found
            if fresh is None:
                self._set_instances(instances)

    def _set_instances(self, instances: dict[str, tuple[str, Instance]]) -> None:
        if instances == self._instances and self.is_loaded:
            return  # a beat that says nothing new
        self._instances = instances
        services: dict[str, list[Instance]] = {}
        for service, instance in instances.values():
            services.setdefault(service, []).append(instance)
        self._publisher.set_services(services)

    def _mark_loaded(self, part: str) -> None:
        self._unloaded.discard(part)
        if not self._unloaded:
            self._loaded.set()

    async def _again(self, what: str, follow: Callable[[], AsyncIterator[None]]) -> None:
        """Follow, and start over when it breaks; sooner at first than when it keeps breaking."""
        wait, said = FIRST_WAIT, ""
        while True:
            reason = "the stream ended"
            try:
                async for _ in follow():
                    self._broken.pop(what, None)
                    wait, said = FIRST_WAIT, ""
            except BlueprintError as error:
                reason = str(error)
            self._broken[what] = reason
            if reason != said:  # once, not at every attempt
                log.warning(
                    "not following %s: %s; keeping what is known, trying again", what, reason
                )
                said = reason
            # Spread out, so that all that lost Blueprint do not come back at the same moment.
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(LONGEST_WAIT, wait * 2)


def _route_change(key: KeyChange) -> Change | None:
    if key.value is None:
        return Change(Kind.ROUTE, key.name, None, key.revision)
    message = _decoded(key.value)
    try:
        if message is None or message.name != key.name:
            raise routes.InvalidRouteError("name", f"the key {key.name!r} does not hold that route")
        return Change(Kind.ROUTE, key.name, routes.parse(message), key.revision)
    except routes.InvalidRouteError as error:
        # Written past AddRoute. What served under this name goes on serving.
        log.error("route %r in Blueprint is left out: %s", key.name, error)
        return None


def _descriptors_change(key: KeyChange) -> Change | None:
    if key.value is None:
        return Change(Kind.DESCRIPTORS, key.name, None, key.revision)
    try:
        checked = descriptors.checked(key.name, key.value)
    except ValueError as error:
        log.warning("no JSON for %s: its descriptors in Blueprint are wrong: %s", key.name, error)
        return None
    return Change(Kind.DESCRIPTORS, key.name, checked, key.revision)


def _decoded(value: bytes) -> networking.Route | None:
    try:
        return networking.Route.FromString(value)
    except DecodeError:
        return None


def _instance(process: models.Process) -> tuple[str, Instance] | None:
    """The service of a process, and the process as an endpoint; None while it is none.

    One that runs but is not healthy stays listed: it finishes what it has and gets nothing new."""
    if process.running_state != models.PROCESS_RUNNING or not process.ip_address:
        return None
    try:
        endpoint = routes.parse_address(process.ip_address)
    except ValueError as error:
        log.warning("process %s of %s gets no requests: %s", process.pid, process.name, error)
        return None
    healthy = process.health_state == models.PROCESS_HEALTHY
    return process.name, Instance(endpoint, healthy)
