"""The streams that we keep, as values, and how they come into being.

A configuration is JetStream's own JSON. Key/value streams take the name and the subjects that NATS
gives its buckets (``KV_x``, ``$KV.x.>``), so that NATS's tools show them as such.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from draft_services.engine import epochs, restoring
from draft_services.engine.connection import Connection
from draft_services.engine.errors import NAME_IN_USE, EngineError, Misused, NotFound, Unavailable

HISTORY = 64  # changes kept of one key
_SECOND = 1_000_000_000
_TRIED = 30  # seconds in which a write is sent again at most; the engine holds their ids in memory
_GENERATION = "draft.generation"
DAMAGE, ACCEPTED = "draft.damage", "draft.accepted"
REPAIRED = "draft.repaired"
"""Keys of a stream's metadata: what of it is lost, and was given up; and which copy was made anew
from others."""
# Not enough storage for `max_bytes`. Said of a stream that is there as well: what it reserves
# already is then counted a second time.
_NO_ROOM = 10047
_ATTEMPTS, _PAUSE = 20, 0.1


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
        "duplicate_window": _TRIED * _SECOND,
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


def objects_config(bucket: str, *, max_bytes: int) -> dict[str, Any]:
    """What a service keeps of large objects (`chassis.objects`): pieces, and what is known of each.

    The service may use it and not make it: a stream may be made as a copy of any other one."""
    return {
        "name": f"OBJ_{bucket}",
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "storage": "file",
        "retention": "limits",
        "max_bytes": max_bytes,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,  # pieces never change
    }


async def ensure(connection: Connection, config: Mapping[str, Any]) -> str:
    """Create the stream with a copy on each server, or bring the one that is there to this
    configuration. Returns which one it is: see `generation`.

    Raises `Unavailable` while a backup is restored.
    """
    name = config["name"]
    if not await epochs.arrived(connection):
        raise Unavailable(f"stream {name}: what the engine is to hold is yet to be restored there")
    if config["storage"] == "file" and await restoring.under_way(connection):
        raise Unavailable(f"stream {name}: a backup is being restored; wait until it has ended")
    config = new_generation({**config, "num_replicas": connection.copies})
    for _ in range(_ATTEMPTS):
        try:
            return generation(await connection.api(f"STREAM.CREATE.{name}", config))
        except EngineError as error:
            if error.code not in (NAME_IN_USE, _NO_ROOM):
                raise
            refusal = error
        try:
            info = await connection.api(f"STREAM.INFO.{name}")
            break
        except NotFound:
            if refusal.code != NAME_IN_USE:
                raise refusal from None
            await asyncio.sleep(_PAUSE)  # somebody makes it at this moment
    else:
        raise Unavailable(f"stream {name} is being made by somebody else; try again")
    found = info["config"]
    wanted = {**found, **config}
    if _GENERATION in (found.get("metadata") or {}):
        wanted["metadata"] = found["metadata"]
    if found["storage"] != wanted["storage"]:
        raise Misused(
            f"stream {name} exists with storage {found['storage']!r} instead of "
            f"{wanted['storage']!r}: it was made by something else; remove it or use another engine"
        )
    if wanted != found:
        info = await connection.api(f"STREAM.UPDATE.{name}", wanted)
    return generation(info)


async def names(connection: Connection) -> list[str]:
    """The names of all streams, sorted."""
    found: list[str] = []
    while page := await connection.api("STREAM.NAMES", {"offset": len(found)}):
        found += page["streams"] or []
        if len(found) >= page["total"]:
            break
    return sorted(found)


def generation(info: Mapping[str, Any]) -> str:
    """Which one of the streams that had this name over time: a restored one counts anew, so the
    same sequence may be another message in it.

    The time of its making would not do: in a cluster, each node tells its own.
    """
    return str((info["config"].get("metadata") or {}).get(_GENERATION, ""))


def damage(info: Mapping[str, Any]) -> str:
    """What of a stream is lost, in words; "" when nothing is known to be."""
    return str((info["config"].get("metadata") or {}).get(DAMAGE, ""))


def members(info: Mapping[str, Any]) -> list[str]:
    """The nodes that have a copy, the leader first; [""] where the engine is one node."""
    cluster = info.get("cluster") or {}
    return [cluster.get("leader", ""), *(each["name"] for each in cluster.get("replicas") or ())]


def new_generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a stream that is not any other of its name."""
    metadata = {**(config.get("metadata") or {}), _GENERATION: uuid4().hex}
    for told in (DAMAGE, ACCEPTED, REPAIRED):  # of the one before
        metadata.pop(told, None)
    return {**config, "metadata": metadata}
