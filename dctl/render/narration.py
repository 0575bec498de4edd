"""What long work says of itself, such as building an image: lines on stderr, until something that
shows progress takes them over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Sink = Callable[[str], None]


def line(text: str) -> None:
    """As a line of its own."""
    click.echo(text, err=True)


class Narrator:
    """Hands on what it is told, from whichever thread."""

    def __init__(self) -> None:
        self._sink: Sink = line

    def __call__(self, text: str) -> None:
        self._sink(text)

    @contextmanager
    def to(self, sink: Sink) -> Iterator[None]:
        """Tell it to `sink` meanwhile."""
        before, self._sink = self._sink, sink
        try:
            yield
        finally:
            self._sink = before


narrator = Narrator()
"""Of this process, which has one stderr."""
