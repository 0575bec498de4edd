"""Wiring: one cluster, its store, the feeds that keep it true, and the screen that shows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from textual.app import App
from textual.binding import Binding

from dctl.tui.screens.main import MainScreen
from dctl.tui.store import Store

if TYPE_CHECKING:
    from dctl.engine.cluster import OpenCluster

Feeds = Callable[["OpenCluster", Store], Awaitable[None]]


class DraftApp(App[None]):
    """The live screen of one cluster. `feeds` keeps the store true; tests give their own."""

    TITLE = "Draft"
    CSS_PATH = "app.tcss"
    BINDINGS = [
        Binding("colon,ctrl+p", "command_palette", "Commands", show=False),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, cluster: OpenCluster, store: Store, feeds: Feeds, *, view: str) -> None:
        super().__init__()
        self.store = store
        self.main = MainScreen(cluster.name, store, cluster.readers, view=view)
        self._feeds = feeds
        self._cluster = cluster

    def on_mount(self) -> None:
        self.push_screen(self.main)
        self.run_worker(self._feeds(self._cluster, self.store), name="feeds")
