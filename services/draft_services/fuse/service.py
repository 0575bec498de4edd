"""Fuse's parts, put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

import grpc

from chassis.figures import Figure
from draft_services.fuse.blueprint import Blueprint, BlueprintError
from draft_services.fuse.mirror import Mirror
from draft_services.fuse.publisher import Publisher
from draft_services.fuse.rpc import NetworkingRpc
from draft_services.fuse.settings import Settings
from draft_services.fuse.xds.fleet import Fleet

log = logging.getLogger(__name__)


class Fuse:
    """One Fuse node. `blueprint` connects to Blueprint and `url` says where others reach us; both
    are asked once the loop runs. With `tls` proxies encrypt what they send to services."""

    def __init__(
        self,
        settings: Settings,
        *,
        blueprint: Callable[[], grpc.aio.Channel],
        url: Callable[[], str],
        tls: bool = False,
    ) -> None:
        self._url = url
        self._fleet = Fleet()
        self._publisher = Publisher(self._fleet, settings.ingress, settings.cors_origins, tls=tls)
        self._blueprint = Blueprint(blueprint)
        self._mirror = Mirror(self._blueprint, self._publisher, self._announce)
        self.servicer = NetworkingRpc(self._blueprint, self._mirror, self._publisher)
        self.xds = self._fleet.handler()

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the proxies at what Blueprint says until `stop`; raises what a part fails with."""
        parts = [
            asyncio.create_task(self._mirror.follow()),
            asyncio.create_task(self._publish()),
        ]
        waiting = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait([*parts, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*parts, waiting):
                task.cancel()
            await asyncio.gather(*parts, waiting, return_exceptions=True)

    def figures(self) -> Iterator[Figure]:
        """What there is to tell Prometheus."""
        fleet = self._fleet
        yield Figure("draft_fuse_routes", "Routes in Blueprint.", self._mirror.count)
        yield Figure("draft_fuse_proxies", "Proxies that are connected.", fleet.proxies)
        yield Figure(
            "draft_fuse_answers_total",
            "What proxies said to what they were sent: accepted, or refused.",
            fleet.answers,
            kind="counter",
            label="answer",
        )
        yield Figure(
            "draft_fuse_snapshot_version",
            "The newest snapshot, counted from the start of this process.",
            fleet.published,
        )

    async def can_serve(self) -> None:
        """Return if routes can be changed and changes arrive; raises why not. Proxies are served
        what is known in either case."""
        await self._mirror.current()

    async def _publish(self) -> None:
        """Nothing is published before everything is known: proxies would forget what they serve."""
        await self._mirror.loaded()
        log.info("routes, descriptors and processes are loaded; serving proxies")
        await self._publisher.run()

    async def _announce(self) -> None:
        """After every reconnect: Blueprint may have been set up anew."""
        try:
            await self._blueprint.announce(self._url())
        except BlueprintError as error:
            log.warning("Fuse's address is not in Blueprint: %s", error)
