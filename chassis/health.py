"""Whether an instance can do its work: asked of it again and again, and told with the reason."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc_health.v1 import _async as aio_health
from grpc_health.v1 import health_pb2

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[object]]

EVERY = 1.0  # seconds between two questions
# A supervised engine that was killed is back within a second; who is told that we cannot serve
# may take requests elsewhere, which is no help for so short a time.
MOMENT = 3.0
_FIRST = 0.05  # until the first good answer: twice as long after each bad one

_LONGEST = 1000  # bytes of a reason: what goes beside an answer must be small
WHY = "draft-why-bin"
"""Trailing metadata of an answer of grpc.health: why it is NOT_SERVING. dctl shows it."""


class Opinion:
    """What a row of answers says. Pure; times in seconds of any clock."""

    def __init__(self) -> None:
        self.why = "it has not been found to work yet"
        """"" as long as all is well, or ill for no more than a moment."""
        self._ill_since: float | None = None

    def hear(self, why: str, asked: float, now: float) -> None:
        """An answer to a question that was asked at `asked`: "" is good."""
        if not why:
            self.why, self._ill_since = "", None
            return
        if self._ill_since is None:
            self._ill_since = asked
        if self.why or now - self._ill_since >= MOMENT:
            self.why = why


class Checkup:
    """Asks `check` for ever. It is well when it returns; what it raises is why it is not."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._opinion = Opinion()

    @property
    def why(self) -> str:
        """Why this instance cannot do its work; "" when it can."""
        return self._opinion.why

    async def ask(self) -> None:
        """Ask once; takes no longer than a moment."""
        asked = time.monotonic()
        try:
            async with asyncio.timeout(MOMENT):
                await self._check()
            why = ""
        except TimeoutError:
            why = f"no answer within {MOMENT:g} s to whether it works"
        except Exception as error:  # noqa: BLE001  whatever it is, it is why
            why = str(error) or type(error).__name__
        self._opinion.hear(why, asked, time.monotonic())

    async def run(self, on_turn: Check) -> None:
        """Ask again and again; `on_turn` is awaited when the answer is another one."""
        worked, pause = not self.why, _FIRST
        while True:
            before = self.why
            await self.ask()
            if self.why != before:
                if self.why and not before:
                    log.warning("not serving: %s", self.why)
                elif not self.why:
                    log.info("serving")
                await on_turn()
            worked = worked or not self.why
            pause = EVERY if worked else min(2 * pause, EVERY)
            await asyncio.sleep(pause)


class HealthServicer(aio_health.HealthServicer):
    """grpc.health that says why."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        if self.why:
            context.set_trailing_metadata(((WHY, self.why.encode()[:_LONGEST]),))
        return await super().Check(request, context)


async def ask_health(channel: grpc.aio.Channel, *, within: float) -> str:
    """Why who is at the other end does not serve, in its own words; "" when it does."""
    call = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )(health_pb2.HealthCheckRequest(), timeout=within)
    answer = await call
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return ""
    for key, value in await call.trailing_metadata() or ():
        if key == WHY and isinstance(value, bytes):
            return value.decode(errors="replace")
    return "it says no more than that it does not serve"
