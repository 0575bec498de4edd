"""Pages that are generated from what they describe, so that they cannot drift."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generator import commands, spec

_DOCS = Path(__file__).parents[1]

PAGES: Mapping[Path, Callable[[], str]] = {
    _DOCS / "cli.md": commands.page,
    _DOCS / "spec.md": spec.page,
}
