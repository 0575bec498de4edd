"""What a stream keeps, chunk by chunk and only as fast as it is asked for.

A feed pushes; here the reader pulls. So one that is slow, or that reads the whole past, holds one
chunk in memory and nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from nats.aio.msg import Msg

from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, Unavailable, translated
from draft_services.engine.feed import Message, Start, received

_CHUNK_BYTES = 2 * 1024 * 1024  # more than any one message, or that one could never be read
_TIMEOUT = 5.0
_INACTIVE = 30.0  # the server forgets a consumer that nobody asks for so long; we make another
_SECOND = 1_000_000_000
_IDLE = "100"
_NO_MORE = ("404", "408")


class Reader:
    """Reads one stream by sequence; `close` it. Reading on where the last chunk ended is cheap."""

    def __init__(self, connection: Connection, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._consumer: str | None = None
        self._next = 0  # the sequence that the consumer delivers next, or one before
        self._delivered = 0  # the consumer's own number of the last message

    async def read(self, sequence: int, limit: int) -> list[Message]:
        """The messages from `sequence` on, at most `limit`; none when there are none yet.

        Sequences that are not kept are skipped. Raises `Unavailable`.
        """
        fresh = self._consumer is None or sequence != self._next
        messages = None if fresh else await self._pull(limit)
        if messages is None:
            await self._open(sequence)
            messages = await self._pull(limit)
        if messages is None:
            raise Unavailable(f"read {self._stream} from {sequence}: the engine is restarting")
        self._next = messages[-1].sequence + 1 if messages else sequence
        return messages

    async def close(self) -> None:
        """Give the consumer up. Only courtesy: the server forgets it by itself."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(EngineError):
                await self._connection.publish(
                    f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", doing="end a reading"
                )

    async def _open(self, sequence: int) -> None:
        await self.close()
        config: dict[str, Any] = {
            "ack_policy": "none",
            "replay_policy": "instant",
            "inactive_threshold": int(_INACTIVE * _SECOND),
            "mem_storage": True,
            "num_replicas": 1,
            **Start.after(sequence - 1).consumer(),
        }
        made = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
        )
        self._consumer = made["name"]
        self._delivered = 0

    async def _pull(self, limit: int) -> list[Message] | None:
        """What the consumer has now; None when it is gone, or messages of it are."""
        arrived: asyncio.Queue[Msg] = asyncio.Queue()
        inbox = self._connection.inbox()
        subscription = await self._connection.subscribe(inbox, arrived.put)
        messages: list[Message] = []
        try:
            await self._connection.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
                json.dumps({"batch": limit, "max_bytes": _CHUNK_BYTES, "no_wait": True}).encode(),
                doing=f"read {self._stream}",
                reply=inbox,
            )
            async with asyncio.timeout(_TIMEOUT):
                while len(messages) < limit:
                    raw = await arrived.get()
                    status = (raw.headers or {}).get("Status")
                    if status == _IDLE:
                        continue
                    if status is not None:
                        return messages if messages or status in _NO_MORE else None
                    delivered, _, message = received(raw)
                    if delivered != self._delivered + 1:  # lost on the way
                        return await self._lose(messages)
                    self._delivered = delivered
                    messages.append(message)
        except TimeoutError:
            return await self._lose(messages)
        finally:
            with contextlib.suppress(EngineError), translated("unsubscribe"):
                await subscription.unsubscribe()
        return messages

    async def _lose(self, messages: list[Message]) -> list[Message] | None:
        """What came before a loss is good; what follows is read by another consumer."""
        await self.close()
        return messages or None
