"""What several things print, as one stream: each line with the name of who printed it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

import click

from dctl.hosts.base import Reader
from dctl.render.prefixed import prefixes


def print_logs(readers: Mapping[str, Reader], *, lines: int, follow: bool) -> None:
    """Print the last `lines` lines of each thing, which a reader tells; with `follow` go on until
    interrupted."""
    width = max((len(name) for name in readers), default=0)
    prefix = prefixes([*readers], width) if len(readers) > 1 else dict.fromkeys(readers, "")
    if not follow:
        for name, reader in readers.items():
            for line in reader.logs(name, lines=lines):
                click.echo(prefix[name] + line)
        return
    merged: queue.SimpleQueue[str] = queue.SimpleQueue()

    def pump(name: str) -> None:
        for line in readers[name].logs(name, lines=lines, follow=True):
            merged.put(prefix[name] + line)

    for name in readers:
        # Daemons: they wait for files to grow, and Ctrl-C must not wait for them.
        threading.Thread(target=pump, args=(name,), daemon=True).start()
    while True:
        click.echo(merged.get())
