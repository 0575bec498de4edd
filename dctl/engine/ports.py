"""Which port each resource gets: as wished, moved, or picked once and kept.

A resource that runs keeps its port for as long as its wish stays the same, whatever moved or
picked it then; so the plan stays empty without a state file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dctl.hosts.base import Endpoint, Json, Observed, Resource


class PortBook:
    """Hands out ports for one planning run.

    `free(host, address)` names a port that nobody holds there. `offset` moves every wished port;
    None means that nobody asked to move any, so what runs stays where it is. What was planned
    before may stand among what is seen, and keeps the ports that it got.
    """

    def __init__(
        self,
        seen: Iterable[Observed | Resource],
        free: Callable[[str, str], int],
        *,
        offset: int | None = None,
    ) -> None:
        self._kept = {
            (o.host, o.name, port): (_wish(asked), o.ports[port])
            for o in seen
            for port, asked in ((o.spec or {}).get("ports") or {}).items()
            if port in o.ports
        }
        self._free = free
        self._offset = offset
        self._taken: dict[tuple[str, str, str], Endpoint] = {}
        self._given = {(host, kept.port) for (host, *_), (_, kept) in self._kept.items()}

    def take(self, host: str, resource: str, port: str, wish: Endpoint) -> Endpoint:
        """The endpoint for one port of a resource on a host; a wished port 0 means "any".
        Asked again, it gives the same answer."""
        key = (host, resource, port)
        if key not in self._taken:
            self._taken[key] = self._choose(key, wish)
        return self._taken[key]

    def _choose(self, key: tuple[str, str, str], wish: Endpoint) -> Endpoint:
        wished, kept = self._kept.get(key, ("", None))
        if kept and wished == str(wish) and (self._offset is None or wish.port == 0):
            return kept
        if wish.port:
            return Endpoint(wish.host, wish.port + (self._offset or 0))
        host = key[0]
        while (host, picked := self._free(host, wish.host)) in self._given:
            pass
        self._given.add((host, picked))
        return Endpoint(wish.host, picked)


def _wish(asked: Json) -> str:
    """host:port as a process asks for it, or as a container asks to publish it."""
    return str(asked["publish"] if isinstance(asked, Mapping) else asked)
