"""Declares the routes of a file, once: for a cluster that was exported, where no dctl is to do it.

    python -m draft_services.fuse.declare ROUTES.json      # a list of routes, as protobuf's JSON

`DRAFT_FUSE` is Fuse's address. Fuse is waited for; what it refuses ends this with its words.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2 as pb
from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as rpc
from google.protobuf import json_format

from chassis.clients import connect
from chassis.proof import by_nonce

_PATIENCE = 300.0  # seconds: images may still be on their way to where Fuse will run
_AGAIN = 1.0
_TIMEOUT = 5.0
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def declare(
    fuse: str, routes: Sequence[pb.Route], prove: Callable[[], str] | None = None
) -> None:
    """Add the routes, or replace those of their names. Raises AioRpcError for what is refused."""
    async with connect(fuse, prove) as channel:
        stub = rpc.NetworkingServiceStub(channel)
        for route in routes:
            await stub.AddRoute(pb.AddRouteRequest(route=route), timeout=_TIMEOUT)


async def declare_patiently(
    fuse: str, routes: Sequence[pb.Route], prove: Callable[[], str] | None = None
) -> None:
    """The same, once Fuse can be reached. Raises TimeoutError when it never is."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                return await declare(fuse, routes, prove)
            except grpc.aio.AioRpcError as error:
                if error.code() not in _AWAY:
                    raise
            await asyncio.sleep(_AGAIN)


def read(text: str) -> list[pb.Route]:
    """The routes that a file holds."""
    return [json_format.ParseDict(route, pb.Route()) for route in json.loads(text)]


def main() -> str | None:
    """Words of what went wrong, or None."""
    routes = read(Path(sys.argv[1]).read_text(encoding="utf-8"))
    secret = os.environ.get("DRAFT_NONCE_FILE", "")
    proof = by_nonce("dctl", Path(secret).read_text().strip()) if secret else ""
    try:
        asyncio.run(
            declare_patiently(os.environ["DRAFT_FUSE"], routes, (lambda: proof) if proof else None)
        )
    except TimeoutError:
        return f"Fuse did not answer within {_PATIENCE:.0f} s"
    except grpc.aio.AioRpcError as error:
        return f"Fuse answers {error.code().name}: {error.details()}"
    return None


if __name__ == "__main__":
    sys.exit(main())
