"""How a command reaches a core service of the cluster at hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from dctl.clients import Connection


@contextmanager
def core(
    part: Literal["blueprint", "catalyst", "fuse"], file: Path | None, timeout: float
) -> Iterator[Connection]:
    """A connection to `part` of the cluster that `file` declares (default: the nearest)."""
    from dctl.clients import connect
    from dctl.engine.cluster import open_cluster

    with connect(part.capitalize(), open_cluster(file).address(part), timeout=timeout) as it:
        yield it
