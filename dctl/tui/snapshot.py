"""One picture of a view, without a terminal: as SVG, or as plain text."""

from __future__ import annotations

import asyncio
import io
import time
from pathlib import Path

from rich.console import Console

from dctl.errors import UsageError
from dctl.tui.app import DraftApp

_SIZE = (140, 40)
_PATIENCE = 6.0  # seconds for every feed to say its first word
_TICK = 0.05


def check_target(target: Path) -> None:
    """Refuse early what `save` could not write."""
    if target.suffix not in (".svg", ".txt"):
        raise UsageError(f"{target}: a snapshot is .svg or .txt")


def save(app: DraftApp, target: Path) -> None:
    """Run `app` unseen until it shows something true, and write the picture to `target`."""
    check_target(target)
    text = asyncio.run(_take(app, as_svg=target.suffix == ".svg"))
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{target}: {error.strerror}") from None


async def _take(app: DraftApp, *, as_svg: bool) -> str:
    async with app.run_test(size=_SIZE) as pilot:
        deadline = time.monotonic() + _PATIENCE
        while not app.store.settled and time.monotonic() < deadline:
            await pilot.pause(_TICK)
        app.main.draw()
        await pilot.pause()
        return app.export_screenshot() if as_svg else _text(app)


def _text(app: DraftApp) -> str:
    width, height = app.size
    console = Console(width=width, height=height, file=io.StringIO(), record=True)
    # The same call that Textual's own screenshot makes; it has no public way to text.
    console.print(app.screen._compositor.render_update(full=True))
    lines = console.export_text().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"
