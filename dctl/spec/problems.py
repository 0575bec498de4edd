"""A problem, its place in a file, and how both look when printed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from dctl.errors import SpecError

Path = tuple[str | int, ...]
"""Where a value is inside a document: keys and indexes."""

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what the parser counts as a line's end
_PLAIN_KEY = re.compile(r"[\w/.-]+")
_WINDOW = 100  # columns of a source line that are shown


@dataclass(frozen=True, slots=True)
class Source:
    """One file that was read: its name as the user knows it, and its text."""

    name: str
    text: str = ""

    def line(self, number: int) -> str:
        lines = _BREAK.split(self.text)
        return lines[number] if number < len(lines) else ""

    def span_at(self, index: int) -> Span:
        """The place of one character of the text."""
        before = _BREAK.split(self.text[:index])
        return Span(self, len(before) - 1, len(before[-1]), 1)


class Span(NamedTuple):
    """Where something stands: line and column from 0, width in characters (0 = unknown)."""

    source: Source
    line: int = 0
    column: int = 0
    width: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `message` completes "services.cart: ..."; it holds no secret."""

    span: Span
    message: str
    path: Path = field(default=(), compare=False)

    def __str__(self) -> str:
        """The printed block: position, sentence, source line and caret."""
        source, line, column, _ = self.span
        where = f"{source.name}:{line + 1}:{column + 1}: "
        inside = f"{format_path(self.path)}: " if self.path else ""
        return "\n".join([clean(where + inside + self.message), *_excerpt(self.span)])


def add_new(problems: list[Problem], further: Iterable[Problem]) -> None:
    """Where something was found to be wrong already, nothing further is said."""
    known = {problem.span for problem in problems}
    problems += [problem for problem in further if problem.span not in known]


def spec_error(problems: Iterable[Problem]) -> SpecError:
    """All problems as one error, by file and position, each once."""
    distinct = dict.fromkeys(problems)
    ordered = sorted(distinct, key=lambda p: (p.span.source.name, p.span[1:3], p.message))
    count = "1 problem" if len(ordered) == 1 else f"{len(ordered)} problems"
    return SpecError(f"{count}; nothing was changed", problems=[str(p) for p in ordered])


def format_path(path: Path) -> str:
    """`services.cart.routes[0].prefix`; odd keys are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f'["{shorten(part)}"]'
    return text


def shorten(text: str, most: int = 40) -> str:
    """Somebody's text inside a sentence of ours."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _excerpt(span: Span) -> list[str]:
    line = clean(span.source.line(span.line))
    column = min(span.column, len(line))
    if not line.strip():
        return []
    start = max(0, column - _WINDOW // 2) if len(line) > _WINDOW else 0
    shown = line[start : start + _WINDOW]
    before, marked = shown[: column - start], shown[column - start :][: max(1, span.width)]
    number = f"{span.line + 1:>4}"
    caret = " " * _columns(before) + "^" * max(1, _columns(marked))
    return [f"{number} | {shown.rstrip()}", f"{' ' * len(number)} | {caret}"]


def clean(text: str) -> str:
    """No control character of somebody's file reaches the terminal; a tab is one column."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)


def _columns(text: str) -> int:
    """Columns on a terminal: East Asian characters are two wide, combining ones none."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
