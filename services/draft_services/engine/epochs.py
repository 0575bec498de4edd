"""Whether all data have arrived in an engine that was given other nodes.

An engine of one node that becomes one of several, or one again, begins empty, in an epoch of its
own; a backup is then restored into it. Until that is whole nobody may make a stream there: what was
written to it would be lost. The sign that it is whole is a stream without a message.
"""

from __future__ import annotations

import contextlib

from draft_services.engine.connection import Connection
from draft_services.engine.errors import NAME_IN_USE, EngineError, NotFound

_SIGN = "arrived-"


def is_sign(stream: str) -> bool:
    """Whether a stream is such a sign."""
    return stream.startswith(_SIGN)


async def arrived(connection: Connection) -> bool:
    """Whether what an engine of this epoch has to hold is there. In the first one, it always is."""
    if not connection.epoch:
        return True
    with contextlib.suppress(NotFound):
        await connection.api(f"STREAM.INFO.{_SIGN}{connection.epoch}")
        return True
    return False


async def have_arrived(connection: Connection) -> None:
    """Give the sign."""
    if connection.epoch:
        name = f"{_SIGN}{connection.epoch}"
        config = {
            "name": name,
            "subjects": [name],
            "storage": "file",
            "num_replicas": connection.copies,
        }
        try:
            await connection.api(f"STREAM.CREATE.{name}", config)
        except EngineError as error:
            if error.code != NAME_IN_USE:  # it is there, of another number of nodes
                raise
            await connection.api(f"STREAM.UPDATE.{name}", config)
