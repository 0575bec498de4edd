"""The engine's nodes and figures, as its streams tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from draft_services.engine.connection import Connection


class Cluster:
    """The nodes that hold some streams, and how those do."""

    def __init__(self, connection: Connection, streams: Sequence[str]) -> None:
        self._connection = connection
        self._streams = streams

    async def members(self) -> list[str]:
        """The names of the nodes, sorted."""
        names: set[str] = set()
        for stream in self._streams:
            names.update(_nodes(await self._connection.api(f"STREAM.INFO.{stream}")))
        # A server by itself names no nodes in its streams.
        return sorted(names) or [self._connection.server_name]

    async def figures(self) -> dict[str, str]:
        """Figures in words: who serves, and each stream's size, leader and lag."""
        figures = {"server": self._connection.server_name, "engine": self._connection.url}
        for stream in self._streams:
            info = await self._connection.api(f"STREAM.INFO.{stream}")
            state = info["state"]
            figures |= {
                f"{stream}.{name}": str(value)
                for name, value in {
                    "messages": state["messages"],
                    "bytes": state["bytes"],
                    "first_revision": state["first_seq"],
                    "last_revision": state["last_seq"],
                    "replicas": info["config"]["num_replicas"],
                    "leader": info.get("cluster", {}).get("leader") or self._connection.server_name,
                    "lag": max((each.get("lag", 0) for each in _replicas(info)), default=0),
                }.items()
            }
        return figures


def _nodes(info: Mapping[str, Any]) -> set[str]:
    names = {each["name"] for each in _replicas(info)}
    if leader := info.get("cluster", {}).get("leader"):
        names.add(leader)
    return names


def _replicas(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return info.get("cluster", {}).get("replicas") or []
