"""Which virtual host a route belongs to, and the order inside it.

A proxy picks the virtual host by the most special host pattern and never looks at another, so a
virtual host also carries the routes of the wider patterns that cover it.
"""

from __future__ import annotations

from collections.abc import Iterable

from draft_services.fuse.routes import ANY_HOST, Route


def by_host(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """The routes of each virtual host, both in the order in which they are tried."""
    own: dict[str, list[Route]] = {}
    for route in routes:
        own.setdefault(route.host, []).append(route)
    wide = [host for host in own if ANY_HOST in host]
    return {
        host: sorted(
            (
                route
                for pattern in {host, *(p for p in wide if covers(p, host))}
                for route in own[pattern]
            ),
            key=_rank,
        )
        for host in sorted(own)
    }


def covers(pattern: str, host: str) -> bool:
    """Whether every request for `host`, itself a host or a pattern, is also one for `pattern`."""
    if pattern == ANY_HOST:
        return True
    if pattern.startswith("*"):
        return host.endswith(pattern[1:]) and host != pattern[1:]
    if pattern.endswith("*"):
        return host.startswith(pattern[:-1]) and not host.startswith("*")
    return pattern == host


def is_whole_segment(prefix: str) -> bool:
    """Whether a prefix stands for a path and what is below it: `/api` is not for `/apix`. One that
    ends with `/` or `.` (all services of a package) is taken as it is."""
    return not prefix.endswith(("/", "."))


def _rank(route: Route) -> tuple[object, ...]:
    """Longer prefixes first, then the more special host, gRPC, more headers, and the name."""
    return (
        -len(route.prefix),
        ANY_HOST in route.host,
        route.host.endswith("*"),
        -len(route.host),
        not route.only_grpc,
        -len(route.headers),
        route.name,
    )
