"""`d`: everything that is known of one row."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import ModalScreen
from textual.widgets import Static


class DescribeScreen(ModalScreen[None]):
    """Column by column, nothing cut off."""

    BINDINGS = [Binding("escape,d,q", "app.pop_screen", "Back")]

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__()
        self._fields = fields

    def compose(self) -> ComposeResult:
        table = Table(box=None, show_header=False, padding=(0, 2))
        for name, value in self._fields.items():
            table.add_row(Text(name, style="bold"), Text(value))
        yield Static(table, id="box")
