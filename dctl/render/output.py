"""One way to print data on stdout: as a table for people, as JSON or YAML for programs.

The machine shape is versioned and documented in docs/json.md:
`{"apiVersion": "draft/v1", "kind": "<Kind>", ...}`, a list under `items`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import click

from dctl.secrets.redaction import redacted_document

Format = Literal["table", "json", "yaml", "ndjson"]
API_VERSION = "draft/v1"

_GOOD = {"healthy", "running", "ready", "ok", "completed"}
_BAD = {"unhealthy", "failed", "disconnected", "missing"}
_WAIT = {"lacking", "starting", "stopped", "held", "changed", "unknown", "testing"}


def emit_list(
    kind: str,
    items: Sequence[Mapping[str, Any]],
    *,
    columns: Mapping[str, str],
    format: Format,
    empty: str = "nothing",
) -> None:
    """Print rows. `columns` maps a header to the key of each item; tables show only these."""
    items = [redacted_document(item) for item in items]
    if format == "ndjson":
        for item in items:
            click.echo(json.dumps(item, ensure_ascii=False))
    elif format == "table":
        if items:
            table(list(columns), [[_text(i.get(k)) for k in columns.values()] for i in items])
        else:
            click.echo(empty, err=True)
    else:
        emit(kind, {"items": list(items)}, format=format)


def emit(kind: str, body: Mapping[str, Any], *, format: Format) -> None:
    """Print one document in a machine's format, with its version and kind in front."""
    # Here, too: in YAML a line may be broken in the middle of a secret.
    document = {"apiVersion": API_VERSION, "kind": kind, **redacted_document(dict(body))}
    if format == "yaml":
        from ruamel.yaml import YAML

        yaml = YAML()
        yaml.default_flow_style = False
        yaml.dump(document, sys.stdout)
    elif format == "ndjson":
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; words that mean well or ill are coloured on a terminal."""
    widths = [
        max(len(h), *(len(row[i]) for row in rows)) if rows else len(h)
        for i, h in enumerate(headers)
    ]
    last = len(headers) - 1
    head = "  ".join(
        h.upper() if i == last else h.upper().ljust(widths[i]) for i, h in enumerate(headers)
    )
    click.echo(paint(head.rstrip(), bold=True))
    for row in rows:
        cells = [colored(c, c if i == last else c.ljust(widths[i])) for i, c in enumerate(row)]
        click.echo("  ".join(cells).rstrip())


def colored(word: str, text: str | None = None) -> str:
    """`text` (default: the word) in the colour of what `word` means."""
    text = word if text is None else text
    color = (
        "green" if word in _GOOD else "red" if word in _BAD else "yellow" if word in _WAIT else None
    )
    return paint(text, fg=color) if color else text


def paint(text: str, *, fg: str | None = None, bold: bool | None = None) -> str:
    """Style for a terminal; click strips it again where stdout or stderr is none."""
    return text if os.environ.get("NO_COLOR") else click.style(text, fg=fg, bold=bold)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    # A control character in somebody's data must not reach the terminal.
    return "".join(c if c.isprintable() else "�" for c in str(value)) or "-"
