"""NetworkingService."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2 as pb
from draft_api.core.control_plane.networking.v1.service_pb2_grpc import NetworkingServiceServicer

from chassis.errors import FailedPrecondition, InvalidArgument, Unavailable
from draft_services.fuse.blueprint import Blueprint, BlueprintError
from draft_services.fuse.mirror import Mirror
from draft_services.fuse.publisher import Follower, Outcome, Publisher
from draft_services.fuse.routes import InvalidRouteError, parse, parse_name

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]

# Trailing metadata: the proxies that have not answered, separated by commas.
BEHIND = "draft-proxies-behind"

# From the write to its outcome: the watch, a group before this one, and two waits for a frozen
# proxy take less. Longer means that the watch is broken.
OUTCOME_TIMEOUT = 8.0

# Callers come right after a start, when reading takes a moment.
LOADING_TIMEOUT = 3.0


class NetworkingRpc(NetworkingServiceServicer):
    """Writes routes to Blueprint, and says what became of them at the proxies."""

    def __init__(self, blueprint: Blueprint, mirror: Mirror, publisher: Publisher) -> None:
        self._blueprint = blueprint
        self._mirror = mirror
        self._publisher = publisher

    def about(self, request: Any) -> Mapping[str, str]:
        """What a request is about, for the log of slow ones."""
        match request:
            case pb.AddRouteRequest():
                return {"route": request.route.name}
            case pb.DeleteRouteRequest():
                return {"route": request.name}
        return {}

    async def AddRoute(self, request: pb.AddRouteRequest, context: Context) -> pb.AddRouteResponse:
        route = request.route
        try:
            parse(route)
        except InvalidRouteError as error:
            raise InvalidArgument(str(error)) from None
        await self._loaded()
        before = self._mirror.route(route.name)
        with self._publisher.following(route.name) as follower:
            revision = await self._blueprint.put_route(route)
            outcome = await _outcome(follower, revision)
        if outcome.refused:
            await self._take_back(route.name, before, revision)
            raise FailedPrecondition(
                f"route {route.name!r}: a proxy refuses it, and what served before goes on serving:"
                f" {outcome.refused}"
            )
        _name_behind(context, outcome)
        return pb.AddRouteResponse(code=pb.OK)

    async def ListRoutes(
        self, request: pb.ListRoutesRequest, context: Context
    ) -> pb.ListRoutesResponse:
        await self._loaded()
        return pb.ListRoutesResponse(routes=self._mirror.routes())

    async def DeleteRoute(
        self, request: pb.DeleteRouteRequest, context: Context
    ) -> pb.DeleteRouteResponse:
        try:
            name = parse_name(request.name)
        except InvalidRouteError as error:
            raise InvalidArgument(str(error)) from None
        await self._loaded()
        was_there = self._mirror.has_route(name)
        with self._publisher.following(name) as follower:
            revision = await self._blueprint.delete_route(name)
            # What was not there does not go, and nothing would be heard of it.
            outcome = await _outcome(follower, revision) if was_there else Outcome()
        if outcome.refused:
            raise FailedPrecondition(
                f"route {name!r} is deleted, but a proxy goes on serving it: {outcome.refused}"
            )
        _name_behind(context, outcome)
        return pb.DeleteRouteResponse(code=pb.DELETE_ROUTE_OK)

    async def _loaded(self) -> None:
        try:
            async with asyncio.timeout(LOADING_TIMEOUT):
                await self._mirror.loaded()
        except TimeoutError:
            raise Unavailable(
                "Fuse has not read its routes from Blueprint yet; is Blueprint up?"
            ) from None

    async def _take_back(self, name: str, before: pb.Route | None, revision: int) -> None:
        """Undo a write, unless somebody has written since."""
        try:
            if before is None:
                await self._blueprint.delete_route(name, expected=revision)
            else:
                await self._blueprint.put_route(before, expected=revision)
        except BlueprintError as error:
            log.error("route %r stays stored though a proxy refuses it: %s", name, error)


async def _outcome(follower: Follower, revision: int) -> Outcome:
    try:
        async with asyncio.timeout(OUTCOME_TIMEOUT):
            return await follower.outcome(revision)
    except TimeoutError:
        raise Unavailable(
            "the change is stored, but Fuse does not hear from Blueprint; the proxies get it once "
            "it does"
        ) from None


def _name_behind(context: Context, outcome: Outcome) -> None:
    if outcome.behind:
        names = ",".join(outcome.behind).encode("ascii", "replace").decode()
        context.set_trailing_metadata(((BEHIND, names),))
