"""What each view shows: columns and rows from the store, filtered and in a fixed order. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dctl.render.times import span
from dctl.text import printable
from dctl.tui.store import Store

Rows = list[tuple[str, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class View:
    """A table: its title, its columns, and how rows (key, cells) come out of the store."""

    title: str
    columns: tuple[str, ...]
    rows: Callable[[Store, float], Rows]


def _services(store: Store, now: float) -> Rows:
    return [
        (
            row.name,
            (
                row.name,
                row.kind,
                row.host,
                row.actual,
                row.health,
                span(row.uptime) if row.uptime is not None else "-",
                str(row.restarts),
                row.address,
                row.reason or row.last_exit,
            ),
        )
        for row in store.services
    ]


def _registry(store: Store, now: float) -> Rows:
    entries = sorted(store.registry.values(), key=lambda e: (e.name, e.pid))
    return [
        (e.pid, (e.name, e.pid[:8], e.group, e.address, e.state, e.health, span(now - e.joined)))
        for e in entries
    ]


def _routes(store: Store, now: float) -> Rows:
    routes = sorted(store.routes.values(), key=lambda r: r.name)
    return [(r.name, (r.name, r.host or "*", r.prefix, r.target, r.protocol)) for r in routes]


def _keys(store: Store, now: float) -> Rows:
    keys = sorted(store.keys.values(), key=lambda k: (k.key, k.type))
    return [(f"{k.type}/{k.key}", (k.key, k.type, k.value, str(k.revision))) for k in keys]


def _events(store: Store, now: float) -> Rows:
    return [
        (str(e.sequence), (str(e.sequence), e.time, e.type, e.source, e.data))
        for e in reversed(store.events)
    ]


VIEWS: Mapping[str, View] = {
    "services": View(
        "Services",
        ("name", "kind", "host", "actual", "health", "up", "restarts", "address", "why"),
        _services,
    ),
    "registry": View(
        "Registry", ("name", "pid", "group", "address", "state", "health", "age"), _registry
    ),
    "routes": View("Routes", ("name", "host", "prefix", "to", "protocol"), _routes),
    "keys": View("Keys", ("key", "type", "value", "revision"), _keys),
    "events": View("Events", ("sequence", "time", "type", "source", "data"), _events),
}


def rows(view: View, store: Store, pattern: str, now: float) -> Rows:
    """The rows of `view` that match `pattern`; control characters of others' data are replaced."""
    matches = matcher(pattern)
    clean = [
        (key, tuple(printable(cell) for cell in cells)) for key, cells in view.rows(store, now)
    ]
    return [row for row in clean if matches(row[1])]


def matcher(pattern: str) -> Callable[[Sequence[str]], bool]:
    """A filter as typed: a regular expression (plain text when it is none), case ignored,
    `!` in front inverts; nothing matches everything."""
    wanted = not pattern.startswith("!")
    text = pattern.removeprefix("!")
    if not text:
        return lambda cells: True
    try:
        expression = re.compile(text, re.IGNORECASE)
    except re.error:
        expression = re.compile(re.escape(text), re.IGNORECASE)
    return lambda cells: any(map(expression.search, cells)) is wanted
