"""One line that says which sources are live, and why one is not."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import Static

from dctl.text import printable, shorten
from dctl.tui.store import FeedState, Store

_SIGN = {
    FeedState.LIVE: ("●", "green"),
    FeedState.CONNECTING: ("○", "yellow"),
    FeedState.LOST: ("✗", "red"),
}


class FeedLine(Static):
    """Shows every feed's state; what is shown of a lost one is what it told last."""

    def show(self, store: Store, pattern: str) -> None:
        line = Text()
        for name, feed in store.feeds.items():
            sign, color = _SIGN[feed.state]
            line.append(f"{sign} {name}  ", style=color)
        for name, reason in store.lost().items():
            line.append(f"{name}: {shorten(printable(reason), 60)}  ", style="red")
            break
        if pattern:
            line.append(f"/{pattern}", style="bold cyan")
        self.update(line)
