"""A table that is redrawn row by row: only what changed, so that the cursor stays where it is."""

from __future__ import annotations

from rich.text import Text
from textual.widgets import DataTable

from dctl.tui.views import Rows

_COLORS = {
    "healthy": "green",
    "running": "green",
    "unhealthy": "red",
    "failed": "red",
    "missing": "red",
    "disconnected": "red",
    "starting": "yellow",
    "stopped": "yellow",
    "held": "yellow",
    "changed": "yellow",
}


class ViewTable(DataTable[Text]):
    """Shows the rows of one view. `show` is cheap when nothing changed."""

    def __init__(self, columns: tuple[str, ...], *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True)
        self._names = columns
        self._shown: Rows = []

    def on_mount(self) -> None:
        for name in self._names:
            self.add_column(name.upper(), key=name)

    def show(self, rows: Rows) -> None:
        """Make the table show `rows`, in their order."""
        if [key for key, _ in rows] != [key for key, _ in self._shown]:
            self._rebuild(rows)
        else:
            for (key, new), (_, old) in zip(rows, self._shown, strict=True):
                for name, cell, before in zip(self._names, new, old, strict=True):
                    if cell != before:
                        self.update_cell(key, name, _styled(cell), update_width=True)
        self._shown = rows

    @property
    def selected(self) -> str:
        """The key of the row under the cursor, "" when there is none."""
        if not 0 <= self.cursor_row < len(self._shown):
            return ""
        return self._shown[self.cursor_row][0]

    def _rebuild(self, rows: Rows) -> None:
        before = self.selected
        self.clear()
        for key, cells in rows:
            self.add_row(*map(_styled, cells), key=key)
        keys = [key for key, _ in rows]
        if before in keys:
            self.move_cursor(row=keys.index(before), animate=False)


def _styled(cell: str) -> Text:
    return Text(cell, style=_COLORS.get(cell, ""), no_wrap=True)
