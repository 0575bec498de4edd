"""The sign that a backup is being restored.

Meanwhile streams go and come: whoever reads one waits, and nobody makes one that is missing. The
sign is a message in memory that has to be renewed, so that a restore that was cut off holds up
nobody for long.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from draft_services.engine.connection import Connection
from draft_services.engine.errors import Conflict, EngineError, NotFound, Unavailable

_STREAM = "restoring"
_LASTS = 10.0
_RENEW = 2.0
_SECOND = 1_000_000_000
_CONFIG: dict[str, Any] = {
    "name": _STREAM,
    "subjects": [_STREAM],
    "storage": "memory",
    "max_msgs_per_subject": 1,
    "max_age": int(_LASTS * _SECOND),
    "discard": "old",
}


async def under_way(connection: Connection) -> bool:
    """Whether a backup is being restored."""
    try:
        state = (await connection.api(f"STREAM.INFO.{_STREAM}"))["state"]
    except NotFound:
        return False
    return bool(state["messages"])


@asynccontextmanager
async def restoring(connection: Connection) -> AsyncIterator[None]:
    """Shows the sign. Raises `Conflict` when somebody else does."""
    config = {**_CONFIG, "num_replicas": connection.copies}
    await connection.api(f"STREAM.CREATE.{_STREAM}", config)
    nobody = {"Nats-Expected-Last-Subject-Sequence": "0"}
    try:
        await connection.write(_STREAM, b"", doing="begin to restore", headers=nobody)
    except Conflict:
        raise Conflict(
            "another restore is under way, or was cut off less than "
            f"{_LASTS:g} s ago; try again when it has ended",
            current=None,
        ) from None
    renewing = asyncio.create_task(_renew(connection))
    try:
        yield
    finally:
        renewing.cancel()
        with contextlib.suppress(EngineError):  # then it ends by itself
            await connection.api(f"STREAM.PURGE.{_STREAM}")


async def _renew(connection: Connection) -> None:
    while True:
        await asyncio.sleep(_RENEW)
        with contextlib.suppress(Unavailable):
            await connection.publish(_STREAM, doing="go on restoring")
