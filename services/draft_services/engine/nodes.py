"""What the leader of a stream says, if it leads at this moment, and who has caught up with it.

A node that stood still, or was cut off from some others, thinks for a while that it leads a stream
of which others have chosen another leader meanwhile; what it says of the stream is old. So all are
asked for their term in the stream's Raft group. Once most of them are in one term, no later one
can have begun before they were asked: who leads in that term knows of all that was acknowledged.
It costs a round trip and no disk, as Raft's read index does.

Nodes tell that to the engine's system account only. Without a connection to it, a leader is
believed that has heard of the others lately, which leaves milliseconds after it stood still.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from draft_services.engine.connection import Connection
from draft_services.engine.errors import Unavailable

_RAFT = "$SYS.REQ.SERVER.PING.RAFTZ"
_ACCOUNT = "$G"  # where streams are that no account was named for
_ROUND = 0.5  # seconds until who has not answered is asked again
_PAUSES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds between questions
_SECOND = 1_000_000_000
# Nodes wait at least 4 s for a sign of life of their leader, which gives one every second, before
# they choose another one (constants of the server).
_LEASE_NS = 3 * _SECOND


class Member(NamedTuple):
    """What a node says of itself as a member of a group. `leads_since` is empty when it does not
    lead, `applied` the last entry of the group's log that is in its copy of the stream."""

    node: str
    term: int
    leads_since: str
    applied: int


class Told(NamedTuple):
    """A stream's information as its leader gives it, and the last entry of its group's log that
    is in it at least; 0 where nobody tells."""

    information: Mapping[str, Any]
    applied: int = 0


class Nodes:
    """The nodes of the engine behind `connection`, and `system`, one to its system account."""

    def __init__(self, connection: Connection, system: Connection | None = None) -> None:
        self._connection = connection
        self._system = system

    async def information(self, stream: str) -> Told:
        """What the leader of a stream says, who led at a moment after this was asked. `Unavailable`
        when most of the nodes do not agree in time on who that is."""
        for pause in _PAUSES:
            info = await self._connection.api(f"STREAM.INFO.{stream}")
            if alone(info):
                return Told(info)
            if self._system is None:
                if leads(info):
                    return Told(info)
            elif leader := await self._leader(info):
                return Told(info, leader.applied)
            await asyncio.sleep(pause)
        raise Unavailable(
            "most of the engine's nodes do not agree on who leads; try again, and see "
            "dctl cluster status"
        )

    async def has(self, node: str, told: Told) -> bool:
        """Whether a node has come as far as what was `told`, or does in time."""
        group, size = _group(told.information)
        for pause in _PAUSES:
            members = await self._members(group, size, until=lambda found: found[-1].node == node)
            if any(each.node == node and each.applied >= told.applied for each in members):
                return True
            await asyncio.sleep(pause)
        return False

    async def _leader(self, info: Mapping[str, Any]) -> Member | None:
        """Who gave this information, if that is who leads."""
        group, size = _group(info)
        members = await self._members(group, size, until=lambda found: bool(leader(found, size)))
        found = leader(members, size)
        said = info["cluster"].get("leader"), info["cluster"].get("leader_since")
        # It may have led before as well: since when tells whether it is the same time.
        return found if found and (found.node, found.leads_since) == said else None

    async def _members(
        self, group: str, size: int, *, until: Callable[[Sequence[Member]], bool]
    ) -> list[Member]:
        """What members of a group say when all are asked: of all, or `until` it is enough, or time
        is up."""
        assert self._system is not None
        members: list[Member] = []
        asked = json.dumps({"account": _ACCOUNT, "group": group}).encode()
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(_ROUND),
                self._system.ask_all(_RAFT, asked, doing="ask who leads") as answers,
            ):
                while len(members) < size:
                    if member := _member(await answers.get(), group):
                        members.append(member)
                        if until(members):
                            break
        return members


def leader(members: Sequence[Member], size: int) -> Member | None:
    """Who leads a group of so many nodes, if those that answered leave no doubt."""
    terms = Counter(member.term for member in members)
    for member in members:
        if member.leads_since and 2 * terms[member.term] > size:
            return member
    return None


def alone(info: Mapping[str, Any]) -> bool:
    """Whether one node has the stream, and no other can lead it."""
    return not info.get("cluster", {}).get("replicas")


def leads(info: Mapping[str, Any]) -> bool:
    """Whether the node that gave this information leads, as far as that alone tells: it had heard
    of more than half of the nodes (itself included) too lately for them to have chosen another one,
    if all of them hear each other."""
    others = info["cluster"]["replicas"]
    heard = sum(int(each.get("active", _LEASE_NS)) < _LEASE_NS for each in others)
    return bool(2 * (1 + heard) > 1 + len(others))


def _group(info: Mapping[str, Any]) -> tuple[str, int]:
    """A stream's Raft group, and how many nodes are in it."""
    return info["cluster"]["raft_group"], 1 + len(info["cluster"]["replicas"])


def _member(answer: Msg, group: str) -> Member | None:
    """What a node says of itself; None if it is no member of the group."""
    told = json.loads(answer.data)
    state = ((told.get("data") or {}).get(_ACCOUNT) or {}).get(group)
    if state is None:
        return None
    since = state.get("leader_since", "") if state["state"] == "LEADER" else ""
    return Member(told["server"]["name"], state["term"], since, state["applied"])
