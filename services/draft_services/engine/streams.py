"""The streams that we keep, as values, and how they come into being.

A configuration is JetStream's own JSON. Key/value streams take the name and the subjects that NATS
gives its buckets (``KV_x``, ``$KV.x.>``), so that NATS's tools show them as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, Misused, NotFound

HISTORY = 64  # changes kept of one key
_SECOND = 1_000_000_000
_NAME_IN_USE = 10058  # the stream exists with another configuration
# Not enough storage for `max_bytes`. Said of a stream that is there as well: what it reserves
# already is then counted a second time.
_NO_ROOM = 10047


def bucket_stream(bucket: str) -> str:
    """The name of the stream behind a bucket."""
    return f"KV_{bucket}"


def bucket_config(bucket: str, *, history: int = HISTORY) -> dict[str, Any]:
    """A durable key/value stream."""
    return {
        "name": bucket_stream(bucket),
        "subjects": [f"$KV.{bucket}.>"],
        "storage": "file",
        "retention": "limits",
        "max_msgs_per_subject": history,
        "discard": "new",  # full means refused, never that the oldest keys vanish
        "allow_rollup_hdrs": True,
        "deny_delete": True,
        "allow_direct": False,  # a direct read may be stale
        "allow_msg_ttl": True,
        "allow_atomic": True,
        # The server raises a shorter TTL up to this one, so it is the shortest there is.
        "subject_delete_marker_ttl": _SECOND,
    }


def lease_config(name: str, *, max_age: float) -> dict[str, Any]:
    """Signs of life: in memory, the last one of each, gone by themselves."""
    return {
        "name": name,
        "subjects": [f"{name}.>"],
        "storage": "memory",
        "retention": "limits",
        "max_msgs_per_subject": 1,
        "max_age": int(max_age * _SECOND),
        "discard": "old",
        "allow_direct": False,
    }


def log_config(
    name: str,
    *,
    max_bytes: int,
    max_age: float,
    dedup_window: float,
    discard: str,
) -> dict[str, Any]:
    """An append-only log with deduplication by message id; a limit of 0 is none."""
    return {
        "name": name,
        "subjects": [f"{name}.>"],
        "storage": "file",
        "retention": "limits",
        "max_bytes": max_bytes or -1,
        "max_age": int(max_age * _SECOND),
        "duplicate_window": int(dedup_window * _SECOND),
        "discard": discard,
        "allow_direct": False,
        "allow_atomic": True,
    }


async def ensure(connection: Connection, config: Mapping[str, Any]) -> None:
    """Create the stream with a copy on each server, or bring the one that is there to this
    configuration.

    The number of copies of a stream that exists is left alone: growing a cluster decides it.
    """
    name = config["name"]
    config = {**config, "num_replicas": connection.copies}
    try:
        await connection.api(f"STREAM.CREATE.{name}", config)
        return
    except EngineError as error:
        if error.code not in (_NAME_IN_USE, _NO_ROOM):
            raise
        refusal = error
    try:
        found = (await connection.api(f"STREAM.INFO.{name}"))["config"]
    except NotFound:
        raise refusal from None
    wanted = {**found, **config, "num_replicas": found["num_replicas"]}
    if found["storage"] != wanted["storage"]:
        raise Misused(
            f"stream {name} exists with storage {found['storage']!r} instead of "
            f"{wanted['storage']!r}: it was made by something else; remove it or use another engine"
        )
    await connection.api(f"STREAM.UPDATE.{name}", wanted)
