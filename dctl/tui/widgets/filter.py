"""The filter line: there while somebody filters, and only then (a hidden input would take keys)."""

from __future__ import annotations

from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input


class FilterBar(Input):
    """Posts `Changed` while typing; Enter keeps the filter, Escape drops it."""

    BINDINGS = [Binding("escape", "drop", "Drop the filter")]

    class Closed(Message):
        """Nobody types here any more; `pattern` is what stays."""

        def __init__(self, pattern: str) -> None:
            super().__init__()
            self.pattern = pattern

    def __init__(self, pattern: str) -> None:
        super().__init__(pattern, placeholder="filter: regex, ! inverts", id="filter")
        self.cursor_blink = False

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Closed(self.value))

    def action_drop(self) -> None:
        self.post_message(self.Closed(""))
