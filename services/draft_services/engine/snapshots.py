"""Whole streams out of the engine and back, as JetStream's own snapshots.

A snapshot is one moment of a stream, and keeps sequences, headers, times and TTLs. Neither way
holds more than a window of it in memory: the server waits for every chunk to be answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from nats.aio.msg import Msg

from draft_services.engine import epochs, streams
from draft_services.engine.connection import Connection, parsed
from draft_services.engine.errors import (
    NAME_IN_USE,
    EngineError,
    NotFound,
    Unavailable,
    translated,
)
from draft_services.engine.upload import uploading

_CHUNK = 256 * 1024
_WINDOW = 4 * 1024 * 1024  # what the server sends ahead of our answers
_SILENCE = 15.0
# The server reads a whole stream before it sends the first chunk, and writes it after the last one.
_WHOLE = 300.0
_ATTEMPTS = 5
_WHOLLY_SENT = "204"


@dataclass(frozen=True, slots=True)
class Stored:
    """A stream on disk: its configuration and its state are JetStream's own JSON."""

    name: str
    config: Mapping[str, Any]
    state: Mapping[str, Any]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Stored:
        """From an answer of JetStream."""
        return cls(info["config"]["name"], info["config"], info["state"])


async def on_disk(connection: Connection) -> list[Stored]:
    """Every stream that outlives the engine, by name."""
    names = [n for n in await streams.names(connection) if not epochs.is_sign(n)]
    found = []
    for name in names:
        with contextlib.suppress(NotFound):  # it comes or goes at this moment
            found.append(await connection.api(f"STREAM.INFO.{name}"))
    return [Stored.of(info) for info in found if info["config"]["storage"] == "file"]


@asynccontextmanager
async def snapshot(
    connection: Connection, name: str
) -> AsyncIterator[tuple[Stored, AsyncIterator[bytes]]]:
    """The stream as of now, and its content chunk by chunk. The server checks all of it first."""
    arrived: asyncio.Queue[Msg | None] = asyncio.Queue()
    inbox = connection.inbox()
    forget = connection.on_reconnect(lambda: arrived.put_nowait(None))
    subscription = await connection.subscribe(inbox, arrived.put)
    try:
        asked = {
            "deliver_subject": inbox,
            "chunk_size": _CHUNK,
            "window_size": _WINDOW,
            "jsck": True,
        }
        begun = await connection.api(f"STREAM.SNAPSHOT.{name}", asked, within=_WHOLE)
        yield Stored.of(begun), _chunks(connection, name, arrived)
    finally:
        forget()
        with contextlib.suppress(EngineError), translated("unsubscribe"):
            await subscription.unsubscribe()


async def _chunks(
    connection: Connection, name: str, arrived: asyncio.Queue[Msg | None]
) -> AsyncIterator[bytes]:
    doing = f"read all of {name}"
    while True:
        try:
            async with asyncio.timeout(_SILENCE):
                message = await arrived.get()
        except TimeoutError:
            raise Unavailable(f"{doing}: the engine went silent; begin again") from None
        if message is None:
            raise Unavailable(f"{doing}: the connection to the engine was lost; begin again")
        if not message.data:
            status = (message.headers or {}).get("Status", _WHOLLY_SENT)
            if status != _WHOLLY_SENT:
                words = (message.headers or {}).get("Description", "")
                raise Unavailable(f"{doing}: the engine gave up ({status} {words}); begin again")
            return
        yield message.data
        if message.reply:
            await connection.publish(message.reply, doing=doing)


async def replace(connection: Connection, stored: Stored, content: AsyncIterator[bytes]) -> Stored:
    """Put a snapshot in the place of the stream of that name. It is there once this returns.

    What raises in `content` ends it: then the stream is gone, or a part of the new one is there.
    """
    doing = f"restore {stored.name}"
    config = streams.new_generation({**stored.config, "num_replicas": connection.copies})
    with contextlib.suppress(NotFound):
        there = (await connection.api(f"STREAM.INFO.{stored.name}"))["config"]
        # What the cluster of today decides: the room for it, and how many copies there are.
        config |= {each: there[each] for each in ("num_replicas", "max_bytes")}
    begun = await _begin(connection, stored, config)
    async with uploading(connection, begun["deliver_subject"], doing=doing) as upload:
        async for chunk in content:
            await upload.send(chunk)
        answer = await upload.finish()
    return Stored.of(parsed(answer.data, doing))


async def _begin(
    connection: Connection, stored: Stored, config: Mapping[str, Any]
) -> Mapping[str, Any]:
    asked = {"config": config, "state": stored.state}
    for _ in range(_ATTEMPTS):
        await forget(connection, stored.name)
        try:
            return await connection.api(f"STREAM.RESTORE.{stored.name}", asked)
        except EngineError as error:
            # Somebody who was about to make it when the restore began has made it meanwhile.
            if error.code != NAME_IN_USE:
                raise
    raise Unavailable(f"restore {stored.name}: somebody makes it anew all the time; try again")


async def forget(connection: Connection, name: str) -> None:
    """Remove a stream with all that is in it; removing what is gone succeeds."""
    with contextlib.suppress(NotFound):
        await connection.api(f"STREAM.DELETE.{name}", within=_WHOLE)
