"""The screen, driven by keys, on a store that the test fills."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dctl.engine.status import Row
from dctl.tui.app import DraftApp
from dctl.tui.screens.describe import DescribeScreen
from dctl.tui.screens.help import KEYS, HelpScreen
from dctl.tui.screens.logs import LogScreen
from dctl.tui.screens.main import MainScreen
from dctl.tui.snapshot import save
from dctl.tui.store import FEEDS, Entry, FeedState, Store
from dctl.tui.widgets.filter import FilterBar


def row(name: str, health: Any = "healthy") -> Row:
    return Row(
        name=name,
        kind="process",
        service=name.rsplit("-", 1)[0],
        host="local",
        desired="running",
        actual="running",
        health=health,
        uptime=5.0,
        address="127.0.0.1:1",
        pid=1,
        restarts=0,
        last_exit="",
        reason="",
    )


class Reader:
    """Logs, and nothing else."""

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        yield f"{name} says hello"


async def no_feeds(cluster: object, store: Store) -> None:
    await asyncio.Event().wait()


@pytest.fixture
def store() -> Store:
    store = Store()
    store.services = [row("cart-1"), row("echo-1", "unhealthy"), row("echo-2")]
    store.registry = {"p1": Entry("echo", "p1", "", "127.0.0.1:1", "running", "healthy", 0)}
    for name in FEEDS:
        store.set_feed(name, FeedState.LIVE)
    return store


@pytest.fixture
def app(store: Store) -> DraftApp:
    cluster = SimpleNamespace(name="shop", readers={"local": Reader()})
    return DraftApp(cluster, store, no_feeds, view="services")  # type: ignore[arg-type]


def shown(app: DraftApp) -> list[str]:
    return [str(app.main.table.get_row_at(i)[0]) for i in range(app.main.table.row_count)]


async def test_digits_and_tab_open_the_views(app: DraftApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("2")
        assert shown(app) == ["echo"]
        await pilot.press("1")
        assert shown(app) == ["cart-1", "echo-1", "echo-2"]
        await pilot.press("tab")
        assert shown(app) == ["echo"]


async def test_a_change_in_the_store_appears_and_the_cursor_stays_on_its_row(
    app: DraftApp, store: Store
) -> None:
    async with app.run_test() as pilot:
        app.main.draw()
        await pilot.press("down")
        assert app.main.table.selected == "echo-1"
        store.services = [row("api-1"), row("cart-1"), row("echo-1")]
        store.changed()
        app.main.draw()
        await pilot.pause()
        assert shown(app) == ["api-1", "cart-1", "echo-1"]
        assert app.main.table.selected == "echo-1"


async def test_slash_filters_while_typing_enter_keeps_and_escape_drops(app: DraftApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("slash", *"echo")
        assert shown(app) == ["echo-1", "echo-2"]
        await pilot.press("enter")
        assert not app.main.query(FilterBar)
        assert shown(app) == ["echo-1", "echo-2"]
        await pilot.press("slash", "escape")
        assert shown(app) == ["cart-1", "echo-1", "echo-2"]


async def test_keys_typed_into_the_filter_are_not_commands(app: DraftApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("slash", *"2q")
        assert app.main.pattern == "2q"


async def test_question_mark_opens_help_and_escape_closes_it(app: DraftApp) -> None:
    async with app.run_test() as pilot:
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        assert not isinstance(app.screen, HelpScreen)


async def test_l_follows_the_logs_of_the_row_and_d_describes_it(app: DraftApp) -> None:
    async with app.run_test() as pilot:
        app.main.draw()
        await pilot.press("l")
        assert isinstance(app.screen, LogScreen)
        await pilot.press("escape", "d")
        assert isinstance(app.screen, DescribeScreen)


def test_help_names_every_key_that_is_bound() -> None:
    words = " ".join(KEYS)
    shown_keys = {"slash": "/", "question_mark": "?", "escape": "esc", "tab": "tab"}
    for binding in [*DraftApp.BINDINGS, *MainScreen.BINDINGS]:
        for key in binding.key.split(","):
            if key.isdigit() or key == "colon":
                continue
            assert shown_keys.get(key, key) in words


@pytest.mark.parametrize("suffix", ["svg", "txt"])
def test_a_snapshot_shows_what_the_store_knows(app: DraftApp, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"now.{suffix}"
    save(app, target)
    assert "echo-1" in target.read_text()


async def test_a_lost_feed_is_shown_as_lost_with_its_reason(app: DraftApp, store: Store) -> None:
    store.set_feed("registry", FeedState.LOST, "unavailable: connection refused")
    async with app.run_test(size=(140, 30)) as pilot:
        app.main.draw()
        await pilot.pause()
        line = str(app.main.query_one("#feeds").render())
        assert "✗ registry" in line
        assert "connection refused" in line
