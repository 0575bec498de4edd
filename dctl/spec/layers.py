"""Several trees to one: an overlay is merged over a spec, an included file is united with it.

Nodes may be shared by aliases, so nothing is changed in place; what is merged keeps its places.
"""

from __future__ import annotations

from dctl.spec.problems import Path, Problem, Span
from dctl.spec.translate import did_you_mean, value_span
from dctl.spec.tree import OVERRIDE, RESET, Entry, Items, Node, Scalar, Table


def merge(base: Table, over: Table, problems: list[Problem], path: Path = ()) -> Table:
    """`over` wins. Mappings merge key by key, anything else is replaced; an empty value leaves a
    mapping or a list as it is. `!reset` removes a key, `!override` replaces a mapping whole."""
    merged = Table(base.span, dict(base.entries))
    for key, entry in over.entries.items():
        first, place = merged.entries.get(key), (*path, key)
        if entry.node.tag == RESET:
            if first is None:
                guess = did_you_mean(key, merged.entries)
                problems.append(Problem(entry.span, f"there is nothing to reset{guess}", place))
            elif not _empty(entry.node):
                problems.append(Problem(entry.node.span, "!reset takes no value", place))
            merged.entries.pop(key, None)
            continue
        node = _over(first.node if first else None, entry.node, problems, place)
        grown = first and isinstance(first.node, Table) and isinstance(node, Table)
        kept = first if grown and entry.node.tag != OVERRIDE else None
        merged.entries[key] = Entry((kept or entry).span, node)
    return merged


def _over(base: Node | None, node: Node, problems: list[Problem], path: Path) -> Node:
    if isinstance(node, Table):
        kept = base if isinstance(base, Table) and node.tag != OVERRIDE else Table(node.span)
        return merge(kept, node, problems, path)
    if isinstance(node, Items):
        _no_reset(node, problems, path)
    elif node.value is None and not node.tag and isinstance(base, Table | Items):
        return base
    return node


def _no_reset(items: Items, problems: list[Problem], path: Path) -> None:
    """A list is replaced whole: nothing in it can be taken out of another."""
    for index, item in enumerate(items.nodes):
        place = (*path, index)
        if item.tag == RESET:
            problems.append(Problem(item.span, "!reset removes keys, not items", place))
        elif isinstance(item, Table):
            merge(Table(item.span), item, problems, place)
        elif isinstance(item, Items):
            _no_reset(item, problems, place)


def unite(one: Table, other: Table, problems: list[Problem], path: Path = ()) -> Table:
    """Both hold, and neither wins: a key with two different values is a problem. (The files' own
    `x-...` keys mean nothing to each other.)"""
    united = Table(one.span, dict(one.entries))
    for key, entry in other.entries.items():
        first, place = united.entries.get(key), (*path, key)
        if first is None or _nothing(first.node):
            united.entries[key] = entry
        elif not path and key.startswith("x-"):
            continue
        elif isinstance(first.node, Table) and isinstance(entry.node, Table):
            node = unite(first.node, entry.node, problems, place)
            united.entries[key] = Entry(first.span, node)
        elif not (_nothing(entry.node) or _same(first.node, entry.node)):
            there = position(value_span(first.span, first.node))
            message = f"has another value at {there}"
            problems.append(Problem(value_span(entry.span, entry.node), message, place))
    return united


def position(span: Span) -> str:
    """A place inside a sentence."""
    return f"{span.source.name}:{span.line + 1}:{span.column + 1}"


def _same(one: Node, other: Node) -> bool:
    if one is other:
        return True
    if isinstance(one, Table) and isinstance(other, Table):
        return one.entries.keys() == other.entries.keys() and all(
            _same(entry.node, other.entries[key].node) for key, entry in one.entries.items()
        )
    if isinstance(one, Items) and isinstance(other, Items):
        return len(one.nodes) == len(other.nodes) and all(map(_same, one.nodes, other.nodes))
    return (
        isinstance(one, Scalar) and isinstance(other, Scalar) and _written(one) == _written(other)
    )


def _written(scalar: Scalar) -> tuple[type, object]:
    """1.10 and 1.1 are two versions, 1 and true two values."""
    return type(scalar.value), getattr(scalar.value, "text", scalar.value)


def _nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _empty(node: Node) -> bool:
    if isinstance(node, Scalar):
        return node.value in (None, "")
    return not (node.entries if isinstance(node, Table) else node.nodes)
