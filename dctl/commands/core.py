"""How a command reaches a core service of the cluster at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dctl.commands.options import variant

if TYPE_CHECKING:
    from dctl.clients import Connection, Way


@contextmanager
def core(
    part: Literal["blueprint", "catalyst", "fuse"], file: Path | None, timeout: float
) -> Iterator[Connection]:
    """A connection to `part` of the cluster that `file` declares (default: the nearest)."""
    from dctl.clients import connect

    with connect(part.capitalize(), way_to(part, file), timeout=timeout) as connection:
        yield connection


def way_to(part: str, file: Path | None) -> Way:
    """How `part` is reached. Errors of the spec come before anything is asked."""
    from dctl.engine.cluster import open_cluster

    return open_cluster(file, variant()).way(part)
