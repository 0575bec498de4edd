"""Things that come one after the other, each printed when it comes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from dctl.render.output import Format, emit
from dctl.text import printable

Column = tuple[str, int]
"""A header, and the width that its cells are filled up to: what comes later is not known yet."""


def print_header(columns: Sequence[Column], *, format: Format) -> None:
    """The headers, where a table is asked for."""
    if format == "table":
        click.secho(_line([h.upper() for h, _ in columns], columns), bold=True)


def print_item(
    kind: str,
    item: Mapping[str, Any],
    cells: Sequence[str],
    *,
    columns: Sequence[Column],
    format: Format,
) -> None:
    """One thing: `cells` as a line of the table, or `item` as one document.

    ndjson prints the bare item, JSON and YAML a whole document each.
    """
    if format == "table":
        click.echo(_line(cells, columns))
    elif format == "ndjson":
        import json

        click.echo(json.dumps(item, ensure_ascii=False))
    else:
        if format == "yaml":
            click.echo("---")
        emit(kind, item, format=format)
        sys.stdout.flush()


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    padded = (printable(c).ljust(width) for c, (_, width) in zip(cells, columns, strict=True))
    return "  ".join(padded).rstrip()
