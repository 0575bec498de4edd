"""The history of a cluster, its lock and its rollbacks as text."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from dctl.engine.history import Record
from dctl.hosts.base import Holder
from dctl.render.times import span

COLUMNS = {
    "id": "id",
    "when": "when",
    "who": "who",
    "what": "what",
    "result": "result",
    "changes": "changes",
    "took": "took",
    "release": "kept",
    "why": "why",
}


def record_rows(records: Sequence[Record], kept: Collection[int]) -> list[Mapping[str, Any]]:
    """Rows for `COLUMNS`, newest last; `kept` are the numbers of the releases that can be had."""
    return [
        {
            "id": record.id,
            "when": moment(record.time),
            "who": record.who,
            "what": _what(record),
            "result": record.result,
            "changes": ", ".join(f"{n} {action}" for action, n in record.planned.items()),
            "took": span(record.took) if record.took is not None else None,
            "kept": record.id if record.id in kept else None,
            "why": record.reason or "; ".join(f"{n}: {r}" for n, r in record.failed.items()),
        }
        for record in records
    ]


def _what(record: Record) -> str:
    to = f" to {record.to}" if record.to else ""
    return f"{record.what}{to}" + (f" ({record.scope})" if record.scope else "")


def holder_text(holder: Holder) -> str:
    """Who has the lock, since when, and whether they still give signs of life."""
    pid = f" (pid {holder.pid})" if holder.pid else ""
    return (
        f"{holder.name}{pid} since {moment(holder.since)}, last heard of {span(holder.silent)} ago"
    )


def moment(seconds: float) -> str:
    """A point in time as this machine's clock shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
