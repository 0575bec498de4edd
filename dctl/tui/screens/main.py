"""The screen of the views. What they show is decided in views.py, known in store.py."""

from __future__ import annotations

import time
from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Static

from dctl.hosts.base import Reader
from dctl.tui.screens.describe import DescribeScreen
from dctl.tui.screens.help import HelpScreen
from dctl.tui.screens.logs import LogScreen
from dctl.tui.store import Store
from dctl.tui.views import VIEWS, rows
from dctl.tui.widgets.feedline import FeedLine
from dctl.tui.widgets.filter import FilterBar
from dctl.tui.widgets.table import ViewTable

_FLUSH = 0.1  # seconds between two looks at the store: ten frames a second are live enough


class MainScreen(Screen[None]):
    """One table at a time, a line of feeds above it, a filter below it while somebody filters."""

    AUTO_FOCUS = ""  # the view's table gets the focus, see _open
    BINDINGS = [
        *(
            Binding(str(number), f"view('{name}')", view.title)
            for number, (name, view) in enumerate(VIEWS.items(), 1)
        ),
        Binding("tab", "next_view", "Next", show=False),
        Binding("slash", "filter", "Filter"),
        Binding("l,enter", "logs", "Logs"),
        Binding("d", "describe", "Describe"),
        Binding("question_mark", "help", "Help"),
        Binding("escape", "drop_filter", "Back", show=False),
    ]

    def __init__(
        self, cluster: str, store: Store, readers: Mapping[str, Reader], *, view: str
    ) -> None:
        super().__init__()
        self.pattern = ""
        self._cluster = cluster
        self._store = store
        self._readers = readers
        self._view = view
        self._drawn: tuple[int, str, str, int] | None = None

    def compose(self) -> ComposeResult:
        yield Static(f"Draft · {self._cluster}", id="title")
        yield FeedLine(id="feeds")
        with ContentSwitcher(initial=self._view, id="views"):
            for name, view in VIEWS.items():
                yield ViewTable(view.columns, id=name)
        yield Vertical(id="bottom")
        yield Footer()

    def on_mount(self) -> None:
        self.action_view(self._view)
        self.set_interval(_FLUSH, self.draw)

    def draw(self) -> None:
        """Show what the store knows, if that or the view changed, or a second went by (ages)."""
        state = (self._store.changes, self._view, self.pattern, int(time.time()))
        if state == self._drawn:
            return
        self._drawn = state
        self.table.show(rows(VIEWS[self._view], self._store, self.pattern, time.time()))
        self.query_one(FeedLine).show(self._store, self.pattern)

    @property
    def table(self) -> ViewTable:
        """The table of the view that is open."""
        return self.query_one(f"#{self._view}", ViewTable)

    def action_view(self, name: str) -> None:
        """Open a view."""
        self._view = name
        self.query_one("#views", ContentSwitcher).current = name
        self.table.focus()
        self.draw()

    def action_next_view(self) -> None:
        names = list(VIEWS)
        self.action_view(names[(names.index(self._view) + 1) % len(names)])

    async def action_filter(self) -> None:
        """Type a filter; it works while it is typed."""
        if not self.query(FilterBar):
            bar = FilterBar(self.pattern)
            await self.query_one("#bottom").mount(bar)
            bar.focus()

    def action_drop_filter(self) -> None:
        self._set_pattern("")

    def on_input_changed(self, event: FilterBar.Changed) -> None:
        self._set_pattern(event.value)

    async def on_filter_bar_closed(self, event: FilterBar.Closed) -> None:
        await self.query(FilterBar).remove()
        self._set_pattern(event.pattern)
        self.table.focus()

    def action_logs(self) -> None:
        """Follow what the service under the cursor prints."""
        name = self.table.selected
        hosts = {r.name: r.host for r in self._store.services if r.kind in ("process", "container")}
        if self._view != "services" or name not in hosts:
            self.notify("logs are of a process in the services view (1)")
            return
        self.app.push_screen(LogScreen(self._readers[hosts[name]], name))

    def on_data_table_row_selected(self) -> None:
        if self._view == "services":
            self.action_logs()
        else:
            self.action_describe()

    def action_describe(self) -> None:
        """All that is known of the row under the cursor."""
        view = VIEWS[self._view]
        known = dict(rows(view, self._store, "", time.time()))
        if cells := known.get(self.table.selected):
            fields = dict(zip(view.columns, cells, strict=True))
            self.app.push_screen(DescribeScreen(fields))

    def action_help(self) -> None:
        self.app.push_screen(HelpScreen())

    def _set_pattern(self, pattern: str) -> None:
        self.pattern = pattern
        self.draw()
