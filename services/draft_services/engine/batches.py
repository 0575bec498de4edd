"""Several messages into a stream at once: all of them or none, and one sync of the disk for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import uuid4

from draft_services.engine.connection import Connection, parsed

MOST = 1000  # the server's limit


class Outgoing(NamedTuple):
    """A message that is to be stored."""

    subject: str
    data: bytes
    headers: Mapping[str, str]


async def store_all(connection: Connection, messages: Sequence[Outgoing], *, doing: str) -> int:
    """Store them in order, with nothing in between; returns the first one's sequence.

    Raises what a single write would: then none of them is stored (or with `Uncertain`, all may be).
    """
    batch = {"Nats-Batch-Id": uuid4().hex}
    *others, last = messages
    for number, (subject, data, own) in enumerate(others, 1):
        headers = {**own, **batch, "Nats-Batch-Sequence": str(number)}
        if number > 1:
            await connection.publish(subject, data, doing=doing, headers=headers)
            continue
        # Answered with nothing when the server has begun the batch, so that a refusal (no such
        # stream, too many batches at once) is known before the rest is sent.
        answer = await connection.request(subject, data, doing=doing, headers=headers)
        if answer.data:  # then it is a refusal
            parsed(answer.data, doing)
    commit = {"Nats-Batch-Sequence": str(len(messages)), "Nats-Batch-Commit": "1"}
    ack = await connection.write(
        last.subject, last.data, doing=doing, headers={**last.headers, **batch, **commit}
    )
    return int(ack["seq"]) - len(messages) + 1
