"""Whether every copy of a stream can be read, message by message, and how one that cannot is made
anew from the others.

The engine checks a message when it is read, and skips one that is damaged without a word; only
its start after a crash reads all of them, and cuts the file off at the first that is damaged. So
the messages of each copy are read, without their content, and compared by their numbers.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nats.aio.msg import Msg

from draft_services.engine import streams
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, NotFound, Unavailable, translated
from draft_services.engine.feed import received
from draft_services.engine.nodes import Nodes, Told, alone

_PULL = 2000  # messages that are asked for at once
_PULL_BYTES = 8 * 1024 * 1024
_COMPLETED = "Batch Completed"  # behind all that was asked for at once
_SILENCE = 5.0
_PLACES = 60  # attempts to have a consumer on one of a few nodes; the engine picks by chance
_ATTEMPTS = 3
_SETTLED = 60.0  # seconds for a stream to have its copies
_LOOK = 0.1
_SECOND = 1_000_000_000

Sequences = array  # of "Q", sorted


async def damaged(connection: Connection, nodes: Nodes, stream: str) -> Mapping[str, list[int]]:
    """The messages that cannot be read, by node; none, when all is well. `Unavailable` when a node
    does not answer, or the stream changes too fast."""
    told = await nodes.information(stream)
    if alone(told.information):
        unread = await _unread_alone(connection, stream)
        return {streams.members(told.information)[0]: unread} if unread else {}
    seen = {}
    for node in streams.members(told.information):
        if not await nodes.has(node, told):
            raise Unavailable(f"survey {stream}: {node} has not caught up")
        seen[node] = await _read(connection, stream, node, until=_last(told))
    found: dict[str, list[int]] = {}
    for node, lacking in missing(seen).items():
        # What was removed between two readings looks the same: what another one still has, was not.
        for sequence, other in lacking.items():
            here = await _reads(connection, stream, node, sequence)
            if not here and await _reads(connection, stream, other, sequence):
                found.setdefault(node, []).append(sequence)
    return found


def missing(seen: Mapping[str, Sequences[int]]) -> Mapping[str, Mapping[int, str]]:
    """Of each node, what it lacks and some other node has, and which."""
    found: dict[str, dict[int, str]] = {}
    places = dict.fromkeys(seen, 0)
    while True:
        heads = {n: seen[n][at] for n, at in places.items() if at < len(seen[n])}
        if not heads:
            return found
        least = min(heads.values())
        having = [node for node, head in heads.items() if head == least]
        for node in having:
            places[node] += 1
        for node in seen.keys() - having:
            found.setdefault(node, {})[least] = having[0]


async def rebuild(
    connection: Connection, nodes: Nodes, stream: str, damaged: Sequence[str]
) -> None:
    """Make the copies on the `damaged` nodes anew from the others, while the stream is in use.
    A damaged node is named as the one to go, for what happens meanwhile does not change who is
    meant. First the engine gives up one copy of its own choice, though never the leader's. It may
    be any, unless one alone is whole: that one has to lead, at a moment before at least. If the
    engine gave it up all the same, that raises `Lost`.
    """
    for node in damaged:
        await _make_anew(connection, nodes, stream, node, damaged)


async def _make_anew(
    connection: Connection, nodes: Nodes, stream: str, node: str, damaged: Sequence[str]
) -> None:
    told = (await nodes.information(stream)).information
    copies = told["config"]["num_replicas"]
    whole = [each for each in streams.members(told) if each not in damaged]
    if told["cluster"].get("leader") in damaged:
        await _hand_over(connection, nodes, stream, to=whole[0])
    if len(whole) == 1:
        told = (await nodes.information(stream)).information
        if streams.members(told)[0] != whole[0]:
            raise Unavailable(f"stream {stream} is not led by {whole[0]}, which alone is whole")
    try:
        # There has to be a node without a copy, to take the place of the one that goes.
        left = await _set_copies(connection, nodes, stream, copies - 1)
        if not set(whole) & set(left):
            raise Lost(f"stream {stream}: the engine gave up the copies that were whole")
        if node in left:
            await connection.api(f"STREAM.PEER.REMOVE.{stream}", {"peer": node})
            await _settled(nodes, stream, lambda now: _has(now, copies - 1, without=node))
    finally:
        await _set_copies(connection, nodes, stream, copies)


class Lost(EngineError):  # noqa: N818  (as those of `errors`)
    """Nothing is left that the damaged could be made of."""


async def _hand_over(connection: Connection, nodes: Nodes, stream: str, to: str) -> None:
    """Have another node lead. That it did not come about does no harm: the leader goes, and the
    rest have to choose another one, which takes seconds."""
    with contextlib.suppress(Unavailable):
        preferred = {"placement": {"preferred": to}}
        await connection.api(f"STREAM.LEADER.STEPDOWN.{stream}", preferred)
        await _settled(nodes, stream, lambda now: now["cluster"].get("leader") == to)


async def _set_copies(
    connection: Connection, nodes: Nodes, stream: str, copies: int
) -> Sequence[str]:
    """Returns the nodes that have one then."""
    info = (await nodes.information(stream)).information
    asked = {**info["config"], "num_replicas": copies}
    await connection.api(f"STREAM.UPDATE.{stream}", asked)
    return await _settled(nodes, stream, lambda now: _has(now, copies))


def _has(info: Mapping[str, Any], copies: int, *, without: str = "") -> bool:
    """Whether a stream has so many copies, all of them whole."""
    others = info.get("cluster", {}).get("replicas") or []
    current = len(others) == copies - 1 and all(each.get("current") for each in others)
    return current and without not in streams.members(info)


async def _settled(
    nodes: Nodes, stream: str, there: Callable[[Mapping[str, Any]], bool]
) -> Sequence[str]:
    """Returns the nodes that have a copy once it is so."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SETTLED):
            while True:
                with contextlib.suppress(Unavailable):
                    info = (await nodes.information(stream)).information
                    if there(info):
                        return streams.members(info)
                await asyncio.sleep(_LOOK)
    raise Unavailable(f"stream {stream} does not get its copies; see dctl cluster status")


async def _unread_alone(connection: Connection, stream: str) -> list[int]:
    """Of the only copy it is known how many messages it has, and of which numbers some are gone:
    if fewer can be read, there is no telling which."""
    for _ in range(_ATTEMPTS):
        before = (await connection.api(f"STREAM.INFO.{stream}"))["state"]
        seen = await _read(connection, stream, "", until=before["last_seq"])
        after = (await connection.api(f"STREAM.INFO.{stream}"))["state"]
        same = ("first_seq", "last_seq", "messages")
        if all(before[each] == after[each] for each in same):
            if len(seen) == before["messages"]:
                return []
            gone = await _gone(connection, stream)
            whole = set(range(before["first_seq"], before["last_seq"] + 1))
            return sorted(whole - set(seen) - gone)
        if len(seen) >= before["messages"]:
            return []
    raise Unavailable(f"survey {stream}: it changes too fast to be counted")


async def _gone(connection: Connection, stream: str) -> set[int]:
    asked = {"deleted_details": True}
    state = (await connection.api(f"STREAM.INFO.{stream}", asked))["state"]
    return set(state.get("deleted") or ())


async def _reads(connection: Connection, stream: str, node: str, sequence: int) -> bool:
    read = await _read(connection, stream, node, begin=sequence, until=sequence)
    return sequence in read


async def _read(
    connection: Connection, stream: str, node: str, *, begin: int = 1, until: int
) -> Sequences[int]:
    """The numbers of the messages that a node can read."""
    seen = array("Q")
    if until < begin:
        return seen
    consumer = await _consumer(connection, stream, node, begin)
    inbox = connection.inbox()
    arrived: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await connection.subscribe(inbox, arrived.put)
    asked = {"batch": _PULL, "max_bytes": _PULL_BYTES, "no_wait": True}
    try:
        while True:
            await connection.publish(
                f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
                json.dumps(asked).encode(),
                doing=f"survey {stream}",
                reply=inbox,
            )
            asked_at = len(seen)
            for _ in range(_PULL):
                async with asyncio.timeout(_SILENCE):
                    raw = await arrived.get()
                status = (raw.headers or {}).get("Status")
                if status == "404":
                    return seen
                if _COMPLETED in (raw.headers or {}).get("Description", ""):
                    continue  # of the messages before
                if status is not None and asked_at == len(seen):  # nobody is there who reads
                    raise Unavailable(f"survey {stream}: the engine ended the reading ({status})")
                if status is not None:  # what was asked for at once is used up
                    break
                sequence = received(raw)[2].sequence
                if sequence > until:
                    return seen
                seen.append(sequence)
                if sequence == until:
                    return seen
    except TimeoutError:
        raise Unavailable(f"survey {stream}: {node or 'the engine'} went silent") from None
    finally:
        with contextlib.suppress(EngineError), translated("unsubscribe"):
            await subscription.unsubscribe()
        with contextlib.suppress(EngineError):
            await connection.publish(
                f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}", doing="end a survey"
            )


async def _consumer(connection: Connection, stream: str, node: str, begin: int) -> str:
    config = {
        "ack_policy": "none",
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": begin,
        "replay_policy": "instant",
        "inactive_threshold": 30 * _SECOND,
        "mem_storage": True,
        "num_replicas": 1,
        "headers_only": True,
    }
    asked = {"stream_name": stream, "config": config}
    for _ in range(_PLACES):
        made = await connection.api(f"CONSUMER.CREATE.{stream}", asked)
        if not node or made.get("cluster", {}).get("leader") == node:
            return str(made["name"])
        with contextlib.suppress(NotFound):
            await connection.api(f"CONSUMER.DELETE.{stream}.{made['name']}")
    raise Unavailable(f"survey {stream}: the engine places no consumer on {node}")


def _last(told: Told) -> int:
    return int(told.information["state"]["last_seq"])
