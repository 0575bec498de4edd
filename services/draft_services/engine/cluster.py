"""The engine's nodes and figures, as its streams tell them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from draft_services.engine import epochs, streams
from draft_services.engine.connection import Connection
from draft_services.engine.errors import Unavailable

LEADS, ONLINE, OFFLINE = "leads", "online", "offline"
# Nodes give each other a sign of life every second. That one was killed, the engine itself says
# after a minute and more.
_SILENT_NS = 5_000_000_000


class Cluster:
    """The nodes that hold the engine's streams, and how those do."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def members(self) -> list[str]:
        """The names of the nodes, sorted."""
        names: set[str] = set()
        for info in await self._streams():
            names.update(_nodes(info) or [self._alone(info)])
        return sorted(names - {""})

    async def figures(self) -> dict[str, str]:
        """Figures in words: who serves, and of each stream its size, its leader, and how each node
        that has a copy does: it leads, is online (and so many changes behind) or offline."""
        figures = {"server": self._connection.server_name, "engine": self._connection.url}
        for info in await self._streams():
            state, stream = info.get("state", {}), info["config"]["name"]
            leader = info.get("cluster", {}).get("leader", "") or self._alone(info)
            told = {
                "messages": state.get("messages", ""),
                "bytes": state.get("bytes", ""),
                "first_revision": state.get("first_seq", ""),
                "last_revision": state.get("last_seq", ""),
                "replicas": info["config"].get("num_replicas", ""),
                "leader": leader,
                "lag": max((each.get("lag", 0) for each in _replicas(info)), default=0),
            }
            metadata = info["config"].get("metadata") or {}
            told |= {
                "damage": metadata.get(streams.DAMAGE, ""),
                "repaired": metadata.get(streams.REPAIRED, ""),
            }
            told |= {f"node.{name}": how for name, how in _nodes(info).items()}
            if leader:
                told[f"node.{leader}"] = LEADS
            figures |= {f"{stream}.{name}": str(value) for name, value in told.items()}
        return figures

    async def _streams(self) -> list[Mapping[str, Any]]:
        """What each stream says; of one that has no leader, its name alone."""
        names = [n for n in await streams.names(self._connection) if not epochs.is_sign(n)]
        return await asyncio.gather(*map(self._stream, names))

    async def _stream(self, name: str) -> Mapping[str, Any]:
        try:
            return await self._connection.api(f"STREAM.INFO.{name}")
        except Unavailable:
            return {"config": {"name": name}}

    def _alone(self, info: Mapping[str, Any]) -> str:
        """A server by itself names no nodes in its streams."""
        alone = "state" in info and "cluster" not in info
        return self._connection.server_name if alone else ""


def _nodes(info: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for each in _replicas(info):
        lag = each.get("lag", 0)
        online = ONLINE if not lag else f"{ONLINE}, {lag} behind"
        silent = each.get("offline") or each.get("active", 0) > _SILENT_NS
        found[each["name"]] = OFFLINE if silent else online
    if leader := info.get("cluster", {}).get("leader"):
        found[leader] = LEADS
    return found


def _replicas(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return info.get("cluster", {}).get("replicas") or []
