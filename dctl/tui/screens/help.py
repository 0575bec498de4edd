"""`?`: the keys."""

from __future__ import annotations

from rich.table import Table
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Static

KEYS = {
    "1 … 5": "services, registry, routes, keys, events",
    "tab": "the next view",
    "/": "filter: a regular expression; ! in front inverts; Esc drops it",
    "l, enter": "logs of the service under the cursor",
    "d": "describe what is under the cursor",
    "ctrl+p": "all commands",
    "?": "this help",
    "esc": "back",
    "q": "quit",
}


class HelpScreen(ModalScreen[None]):
    """Any of the keys below closes it."""

    BINDINGS = [Binding("escape,question_mark,q", "app.pop_screen", "Back")]

    def compose(self) -> ComposeResult:
        table = Table(box=None, show_header=False, padding=(0, 2))
        for key, meaning in KEYS.items():
            table.add_row(f"[bold]{key}", meaning)
        yield Static(table, id="box")
