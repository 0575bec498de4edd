"""Rows and filters of the views."""

import pytest

from dctl.commands.tui import VIEW_NAMES
from dctl.tui.store import Event, Route, Store
from dctl.tui.views import VIEWS, matcher, rows


def test_the_command_offers_exactly_the_views_there_are() -> None:
    assert tuple(VIEWS) == VIEW_NAMES


@pytest.mark.parametrize(
    ("pattern", "shown"),
    [
        ("", True),
        ("ECHO", True),
        ("^echo-1$", True),
        ("!cart", True),
        ("!echo", False),
        ("cart", False),
        ("echo-[", False),
    ],
)
def test_a_filter_is_a_regular_expression_that_ignores_case(pattern: str, shown: bool) -> None:
    assert matcher(pattern)(["echo-1", "running"]) is shown


def test_a_filter_that_is_no_regular_expression_is_plain_text() -> None:
    assert matcher("a[b")(["xa[by"])


def test_rows_stand_in_a_fixed_order() -> None:
    store = Store()
    for name in ("b", "a", "c"):
        store.routes[name] = Route(name, "", "/", "echo", "grpc")
    assert [key for key, _ in rows(VIEWS["routes"], store, "", 0)] == ["a", "b", "c"]


def test_the_newest_event_stands_first_and_the_tail_is_bounded() -> None:
    store = Store()
    for sequence in range(5_000):
        store.events.append(Event(sequence, "", "t", "s", "i", "d"))
    shown = rows(VIEWS["events"], store, "", 0)
    assert shown[0][0] == "4999"
    assert len(shown) == 1_000


def test_control_characters_of_somebodys_data_never_reach_the_terminal() -> None:
    store = Store()
    store.events.append(Event(1, "", "t", "s", "i", "\x1b[2Jgone"))
    ((_, cells),) = rows(VIEWS["events"], store, "", 0)
    assert "\x1b" not in "".join(cells)
