"""Who calls a core service, asked of Blueprint: for a cluster that wants to know it of each call.

What Blueprint says of a proof is believed for some seconds; while it does not answer, who was
known lately is let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import grpc
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

from chassis.proof import HEADER

_BELIEVED = 30.0  # seconds until Blueprint is asked again
_AWAY = 3600.0  # seconds for which somebody is known while Blueprint is away
_TIMEOUT = 2.0
_REMEMBERED = 20_000


class Refusal(NamedTuple):
    """A status that ends a call, and why."""

    code: grpc.StatusCode
    words: str


class Guard:
    """Asks Blueprint, over the channel that `blueprint` gives."""

    def __init__(self, blueprint: Callable[[], grpc.aio.Channel]) -> None:
        self._blueprint = blueprint
        self._known: dict[str, float] = {}  # proof -> when it was identified

    async def refusal(self, metadata: Iterable[tuple[str, str | bytes]]) -> Refusal | None:
        """Why a call is refused; None lets it in."""
        value = next((value for key, value in metadata if key == HEADER), "")
        proof = value if isinstance(value, str) else value.decode("utf-8", "replace")
        age = time.monotonic() - self._known.get(proof, -_AWAY)
        if age < _BELIEVED:
            return None
        stub = rpc.ServiceDiscoveryServiceStub(self._blueprint())
        try:
            await stub.Identify(pb.IdentifyRequest(proof=proof), timeout=_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                self._known.pop(proof, None)
                return Refusal(error.code(), error.details() or "")
            if age < _AWAY:
                return None
            return Refusal(
                grpc.StatusCode.UNAVAILABLE,
                f"Blueprint cannot be asked who calls: {error.code().name}: {error.details()}",
            )
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        self._known[proof] = time.monotonic()
        return None
