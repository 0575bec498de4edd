"""The nodes that decide together: who belongs to the engine, and that a lost one does no more.

A node that is away for good counts as long as it is a member: of three with one away, none other
may fail. The engine's leader alone knows the members, and tells the system account only.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import string
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from draft_services.engine.cluster import LEADS, OFFLINE, ONLINE, Cluster
from draft_services.engine.connection import Connection, parsed
from draft_services.engine.errors import Unavailable

_ASK = "$SYS.REQ.SERVER.PING.JSZ"
_REMOVE = "$JS.API.SERVER.REMOVE"
_PATIENCE = 2.0
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_UNKNOWN = "name unknown"  # what it says of who was away already when it began
# They give each other a sign of life every second.
_SILENT_NS = 5_000_000_000


class Members:
    """Those of the engine behind `cluster`; `system` is a connection to its system account, None
    for an engine of one node."""

    def __init__(self, cluster: Cluster, system: Connection | None) -> None:
        self._cluster = cluster
        self._system = system

    async def all(self) -> dict[str, str]:
        """How each one does, by its name, or by its `peer` where nobody of today has met it. Raises
        `Unavailable` while nobody leads."""
        if self._system is None:
            return dict.fromkeys(await self._cluster.members(), ONLINE)
        led = await self._led()
        found = {_name(each): _does(each) for each in led["replicas"]}
        return {**found, led["leader"]: LEADS}

    async def remove(self, node: str) -> None:
        """Have one that is away count no more. It needs more than half of the others."""
        assert self._system is not None
        known = node in await self.all()
        asked = {"peer": node} if known else {"peer_id": peer(node)}
        doing = f"remove {node}"
        answer = await self._system.request(_REMOVE, json.dumps(asked).encode(), doing=doing)
        parsed(answer.data, doing)

    async def _led(self) -> Mapping[str, Any]:
        """What the leader says of all."""
        assert self._system is not None
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(_PATIENCE),
                self._system.ask_all(_ASK, b"{}", doing="ask for the engine's nodes") as answers,
            ):
                while True:
                    told = json.loads((await answers.get()).data)
                    meta = (told.get("data") or {}).get("meta_cluster") or {}
                    if meta.get("replicas") and meta.get("leader") == told["server"]["name"]:
                        return dict(meta)
        raise Unavailable("none of the engine's nodes leads the others now; try again")


def peer(node: str) -> str:
    """How nodes call one among themselves: from its name, as the server does it."""
    return "".join(_DIGITS[byte % len(_DIGITS)] for byte in sha256(node.encode()).digest()[:8])


def _name(replica: Mapping[str, Any]) -> str:
    name = str(replica["name"])
    return str(replica.get("peer", name)) if _UNKNOWN in name else name


def _does(replica: Mapping[str, Any]) -> str:
    silent = replica.get("offline") or replica.get("active", 0) > _SILENT_NS
    return OFFLINE if silent else ONLINE
