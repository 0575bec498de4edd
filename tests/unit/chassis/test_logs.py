"""A record is one line, for people or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chassis.clients import Address
from chassis.logs import Format, setup

log = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


class Printed:
    def __init__(self, format_: Format, capsys: pytest.CaptureFixture[str]) -> None:
        setup("info", format_)
        self._capsys = capsys

    def lines(self) -> list[str]:
        captured = self._capsys.readouterr()
        assert captured.out == ""
        return captured.err.splitlines()

    def record(self) -> dict[str, Any]:
        [line] = self.lines()
        found: dict[str, Any] = json.loads(line)
        return found


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[Format], Printed]:
    """Sets up logs, inside the test: pytest's stderr of before it is another one."""
    return lambda format_: Printed(format_, capsys)


def fail() -> None:
    try:
        raise ValueError("no more disk")
    except ValueError:
        log.exception("sweep failed")


def test_a_text_record_holds_time_level_logger_words_and_extras(
    printed: Callable[[Format], Printed],
) -> None:
    out = printed("text")
    log.warning("low on %s", "disk", extra={"left": 3, "at": Address("a", 1)})
    [line] = out.lines()
    time, rest = line.split(" ", 1)
    assert time.endswith("Z")
    assert rest == "WARNING shop: low on disk left=3 at=a:1"


def test_an_extra_that_is_not_one_word_is_quoted(printed: Callable[[Format], Printed]) -> None:
    out = printed("text")
    log.info("read", extra={"who": "a b\nc", "empty": ""})
    [line] = out.lines()
    assert line.endswith('read who="a b\\nc" empty=""')


def test_a_json_record_is_one_object_on_one_line(printed: Callable[[Format], Printed]) -> None:
    out = printed("json")
    log.info("two\nlines", extra={"left": 3, "full": True, "at": Address("a", 1), "none": None})
    record = out.record()
    assert record.pop("time").endswith("Z")
    assert record == {
        "level": "info",
        "logger": "shop",
        "message": "two\nlines",
        "left": 3,
        "full": True,
        "at": "a:1",
        "none": None,
    }


def test_an_extra_cannot_replace_what_a_record_always_has(
    printed: Callable[[Format], Printed],
) -> None:
    out = printed("json")
    log.info("read", extra={"level": "fake", "time": 0, "logger": "fake"})
    record = out.record()
    assert (record["level"], record["logger"]) == ("info", "shop")
    assert record["time"] != 0


def test_an_exception_is_in_the_same_json_record(printed: Callable[[Format], Printed]) -> None:
    out = printed("json")
    fail()
    record = out.record()
    assert record["message"] == "sweep failed"
    assert record["trace"].startswith("Traceback")
    assert record["trace"].endswith("ValueError: no more disk")


def test_an_exception_follows_its_text_record(printed: Callable[[Format], Printed]) -> None:
    out = printed("text")
    fail()
    lines = out.lines()
    assert lines[0].endswith("ERROR   shop: sweep failed")
    assert (lines[1], lines[-1]) == (
        "Traceback (most recent call last):",
        "ValueError: no more disk",
    )


def test_a_stack_that_is_asked_for_is_there(printed: Callable[[Format], Printed]) -> None:
    out = printed("json")
    log.info("here", stack_info=True)
    assert out.record()["trace"].startswith("Stack (most recent call last)")


def test_what_is_below_the_level_is_not_printed(printed: Callable[[Format], Printed]) -> None:
    out = printed("text")
    log.debug("hidden")
    assert out.lines() == []


def test_to_set_up_again_replaces_what_was(printed: Callable[[Format], Printed]) -> None:
    out = printed("text")
    setup("info", "text")
    log.info("once")
    assert len(out.lines()) == 1
    assert logging.getLogger().handlers[0].stream is sys.stderr  # type: ignore[attr-defined]
