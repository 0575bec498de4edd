"""`l`: what one service prints, as it prints it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import Footer, RichLog, Static
from textual.worker import get_current_worker

from dctl.errors import DctlError
from dctl.hosts.base import Reader
from dctl.secrets.redaction import learn, redacted
from dctl.text import printable

_PAST = 500  # lines of the past
_KEPT = 10_000


class LogScreen(Screen[None]):
    """Follows until it is closed."""

    BINDINGS = [
        Binding("escape,q", "app.pop_screen", "Back"),
        Binding("f", "follow", "Follow"),
    ]

    def __init__(self, reader: Reader, name: str) -> None:
        super().__init__()
        self._reader = reader
        self._resource = name

    def compose(self) -> ComposeResult:
        yield Static(f"logs · {self._resource}", id="title")
        yield RichLog(max_lines=_KEPT, wrap=False, id="log")
        yield Footer()

    def on_mount(self) -> None:
        self._read()

    def action_follow(self) -> None:
        """Jump to the end, and stay there."""
        self.query_one(RichLog).scroll_end(animate=False)

    # A thread: reading logs blocks. It ends with the next line after the screen was closed.
    @work(thread=True, exit_on_error=False)
    def _read(self) -> None:
        worker = get_current_worker()
        for line in _lines(self._reader, self._resource):
            if worker.is_cancelled or not self.is_attached:
                return
            self.app.call_from_thread(self._append, line)

    def _append(self, line: str) -> None:
        if self.is_attached:
            self.query_one(RichLog).write(Text(printable(line, keep="\t")))


def _lines(reader: Reader, name: str) -> Iterator[str]:
    try:
        for secret in reader.given(name).values():
            learn(secret)
        for line in reader.logs(name, lines=_PAST, follow=True):
            yield redacted(line)
    except DctlError as error:
        yield f"(no logs: {error.message})"
