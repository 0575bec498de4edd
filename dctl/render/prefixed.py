"""Lines of several things on one terminal, each with the name of who printed it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dctl.render.output import paint

COLORS = ("cyan", "yellow", "green", "magenta", "blue", "bright_red")


class Prefixed:
    """Tells lines of `names` on stdout, our own on stderr. Once nobody reads it stays silent."""

    def __init__(self, names: Sequence[str]) -> None:
        width = max((len(name) for name in names), default=0)
        self._prefix = prefixes(names, width)
        self._own = paint(f"{'dctl':<{width}} | ", bold=True)

    def tell(self, name: str, line: str) -> None:
        try:
            if name:
                click.echo(self._prefix[name] + line)
            else:
                click.echo(self._own + line, err=True)
        except OSError:  # the terminal was closed; that is told by a signal, too
            pass


def prefixes(names: Sequence[str], width: int) -> dict[str, str]:
    """What stands in front of the lines of each, in a colour of its own."""
    return {
        name: paint(f"{name:<{width}} | ", fg=COLORS[i % len(COLORS)])
        for i, name in enumerate(names)
    }
