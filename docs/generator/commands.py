"""The page of commands: what `dctl docs` writes, too."""

from __future__ import annotations

from dctl.cli import root
from dctl.render.reference import markdown


def page() -> str:
    """The whole page."""
    return markdown(root)
