"""YAML text to a tree in which every key and value knows its place.

Built from the parser's events, so that a bomb is refused before it unfolds and every duplicate
key and tag is found, not only the first. Scalars follow YAML 1.2's core schema and nothing more:
`yes`, `1_000` and bare dates stay text. Keys are always text, as written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dctl.spec.problems import Path, Problem, Source, Span, shorten
from dctl.spec.scalars import Decimal, Whole, resolve

# A spec of 500 services has some 20,000 nodes in 300 KiB and is 7 levels deep.
# The first two are for all files of a spec together.
MAX_BYTES = 1 << 20
MAX_NODES = 100_000  # after aliases are unfolded; long texts count for more
MAX_DEPTH = 40

# What an overlay may say about a key; any other tag is refused.
RESET = "!reset"
OVERRIDE = "!override"


@dataclass(slots=True)
class Budget:
    """What the files of one spec may still hold."""

    size: int = MAX_BYTES
    nodes: int = MAX_NODES


@dataclass(slots=True, eq=False)
class Scalar:
    """Text, number, truth value or nothing. Interpolation replaces `value`."""

    span: Span
    value: str | Whole | Decimal | bool | None
    weight: int = 1
    height: int = 1
    tag: str = ""


class Entry(NamedTuple):
    """One key of a table: where the key stands, and its value."""

    span: Span
    node: Node


@dataclass(slots=True, eq=False)
class Table:
    """A mapping, in the order of the file."""

    span: Span
    entries: dict[str, Entry] = field(default_factory=dict)
    weight: int = 1
    height: int = 1
    tag: str = ""


@dataclass(slots=True, eq=False)
class Items:
    """A sequence."""

    span: Span
    nodes: list[Node] = field(default_factory=list)
    weight: int = 1
    height: int = 1
    tag: str = ""


Node = Scalar | Table | Items


def parse(
    source: Source, problems: list[Problem], budget: Budget, *, overlay: bool = False
) -> Table | None:
    """The document's mapping; None when nothing further can be said about the file.

    What is wrong is appended to `problems`, what is used is taken from `budget`; only an overlay
    may have its two tags. No text of at most `MAX_BYTES` raises.
    """
    try:
        root = _Builder(source, problems, budget, overlay).document()
    except _RefusedError as refused:
        problems.append(refused.problem)
        return None
    if isinstance(root, Table):
        return root
    if root is None or (isinstance(root, Scalar) and root.value is None):
        problems.append(Problem(Span(source), "the file is empty"))
    else:
        problems.append(Problem(root.span, "must be a mapping of keys to values"))
    return None


def to_data(node: Node) -> Any:
    """The tree as plain dicts, lists and scalars (numbers keep their writing)."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Items):
        return [to_data(item) for item in node.nodes]
    return {key: to_data(entry.node) for key, entry in node.entries.items()}


class _RefusedError(Exception):
    """The document cannot be read on from here."""

    def __init__(self, span: Span, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.problem = Problem(span, message, path)


class _Builder:
    def __init__(
        self, source: Source, problems: list[Problem], budget: Budget, overlay: bool
    ) -> None:
        self._source = source
        self._problems = problems
        self._budget = budget
        self._tags = (RESET, OVERRIDE) if overlay else ()
        self._events = _events(source)
        self._anchors: dict[str, Node | None] = {}  # None while its own content is being read

    def document(self) -> Node | None:
        root = None
        for event in self._events:
            name = type(event).__name__
            if name == "DocumentStartEvent" and root is not None:
                raise _RefusedError(_span(self._source, event), "one file holds one document only")
            if not name.startswith(("Document", "Stream")):
                root = self._node(event, (), 1)
        return root

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        span = _span(self._source, event)
        if type(event).__name__ == "AliasEvent":
            return self._alias(event, span, path, depth)
        if depth > MAX_DEPTH:
            raise _RefusedError(span, f"is nested more than {MAX_DEPTH} levels deep")
        tag = "" if event.ctag is None else self._tag(event, span, path)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        node: Node
        match type(event).__name__:
            case "ScalarEvent":
                node = self._scalar(event, span, path)
            case "SequenceStartEvent":
                node = self._items(span, path, depth)
            case _:
                node = self._table(span, path, depth)
        node.tag = tag
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _tag(self, event: Any, span: Span, path: Path) -> str:
        tag = shorten(str(event.tag).replace("tag:yaml.org,2002:", "!!"))
        if tag in self._tags and path:
            return tag
        message = (
            f'"{tag}" belongs on a value in an overlay, such as cluster.prod.yaml'
            if tag in (RESET, OVERRIDE)
            else f'tags are not supported: remove "{tag}"'
        )
        self._problem(span, message, path)
        return ""

    def _scalar(self, event: Any, span: Span, path: Path) -> Scalar:
        text: str = event.value
        if fault := unusable(text):
            self._problem(span, fault, path)
            text = ""
        weight = 1 + len(text) // 100
        self._count(weight, span)
        value: str | Whole | Decimal | bool | None = text
        if event.style is None:
            value = resolve(text)
            if isinstance(value, Decimal) and not math.isfinite(value):
                self._problem(span, "is not a number that can be used here", path)
                value = None
        return Scalar(span, value, weight)

    def _items(self, span: Span, path: Path, depth: int) -> Items:
        self._count(1, span)
        items = Items(span)
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            _adopt(items, node := self._node(event, (*path, len(items.nodes)), depth + 1))
            items.nodes.append(node)
        return items

    def _table(self, span: Span, path: Path, depth: int) -> Table:
        self._count(1, span)
        table = Table(span)
        merged: list[Node] = []
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            key_span = _span(self._source, event)
            merge = (
                type(event).__name__ == "ScalarEvent"
                and event.style is None
                and event.value == "<<"
            )
            key = "<<" if merge else self._key(event, key_span, path, depth)
            node = self._node(next(self._events), (*path, key or "?"), depth + 1)
            _adopt(table, node)
            if merge:
                merged += node.nodes if isinstance(node, Items) else [node]
            elif key in table.entries:
                first = table.entries[key].span.line + 1
                self._problem(
                    key_span, f'duplicate key "{shorten(key)}"; first at line {first}', path
                )
            elif key is not None:
                table.entries[key] = Entry(key_span, node)
        for other in merged:
            if isinstance(other, Table):
                for key, entry in other.entries.items():
                    table.entries.setdefault(key, entry)
            else:
                self._problem(other.span, "only a mapping can be merged with <<", path)
        return table

    def _key(self, event: Any, span: Span, path: Path, depth: int) -> str | None:
        node = self._node(event, path, depth + 1)
        if not isinstance(node, Scalar) or node.tag:
            self._problem(span, "a key must be text", path)
            return None
        if isinstance(node.value, Whole | Decimal):
            return node.value.text
        if isinstance(node.value, bool):
            return str(event.value) if type(event).__name__ == "ScalarEvent" else str(node.value)
        if not node.value:
            self._problem(span, "a key must not be empty", path)
            return None
        return node.value

    def _alias(self, event: Any, span: Span, path: Path, depth: int) -> Node:
        name = event.anchor
        if name not in self._anchors:
            raise _RefusedError(span, f'no anchor "{shorten(name)}" above', path)
        node = self._anchors[name]
        if node is None:
            raise _RefusedError(span, f'anchor "{shorten(name)}" contains itself', path)
        self._count(node.weight, span)
        if depth + node.height - 1 > MAX_DEPTH:
            raise _RefusedError(span, f"is nested more than {MAX_DEPTH} levels deep")
        return node

    def _count(self, weight: int, span: Span) -> None:
        self._budget.nodes -= weight
        if self._budget.nodes < 0:
            raise _RefusedError(span, f"the spec unfolds to more than {MAX_NODES} values")

    def _problem(self, span: Span, message: str, path: Path) -> None:
        self._problems.append(Problem(span, message, path))


def _adopt(parent: Table | Items, child: Node) -> None:
    parent.weight += child.weight
    parent.height = max(parent.height, child.height + 1)


def unusable(text: str) -> str:
    """Why a text can be no value of a spec, or ""."""
    if "\0" in text:
        return "contains a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "contains half a surrogate pair, which is no character"
    return ""


def _span(source: Source, event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    width = end.column - start.column if end.line == start.line else 1 << 20
    return Span(source, start.line, start.column, width)


def _events(source: Source) -> Iterator[Any]:
    """The parser's events; the one place where its errors become ours."""
    # Here, not above: dctl starts often without reading a spec.
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    here = Span(source)
    try:
        for event in YAML(typ="safe", pure=True).parse(source.text):
            here = _span(source, event)
            yield event
    except ReaderError as error:
        span = source.span_at(error.position)
        raise _RefusedError(
            span, f"character U+{ord(source.text[error.position]):04X} is not allowed"
        ) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        span = Span(source, mark.line, mark.column, 1) if mark else here
        words = str(error.problem or error.context).replace("'", '"')
        if "${" in source.line(span.line):
            words += '; between { } or [ ], "${...}" needs its quotes'
        raise _RefusedError(span, f"not valid YAML: {words}") from None
    except (ValueError, ArithmeticError) as error:
        # What the parser lets through from Python, such as for an escape beyond Unicode's end.
        # It says only "int too large", so neither do we say more.
        message = "not valid YAML: an escape or number after this is out of range"
        raise _RefusedError(here, message) from error
