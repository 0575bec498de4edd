"""A loaded spec as text: a spec again, and where each of its values was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dctl.engine.hiding import is_secret_name
from dctl.spec.problems import Path, clean, format_path
from dctl.spec.scalars import Interpolated, plain
from dctl.spec.tree import Items, Node, Scalar, Table, to_data

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap


_COLUMN = 48  # of the comments; a longer line has its comment right behind it


class Variable(str):
    """Text with `${...}` in it, which is printed as it was written: what is behind it is secret."""


def told(tree: Table) -> dict[str, Any]:
    """The spec as data. A value that was put in for a variable which looks like a secret stays the
    variable, and so does one that a secret is taken from."""
    sources = _sources(tree)
    return {key: _told(entry.node, key, sources) for key, entry in tree.entries.items()}


def escaped(value: Any) -> Any:
    """Dollars doubled, so that reading the output replaces nothing but what it should."""
    if isinstance(value, Variable):
        return str(value)
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def origins(tree: Table) -> Iterator[dict[str, Any]]:
    """Each value with its path and its place, in the order of the spec."""
    sources = _sources(tree)
    for path, node in _leaves(tree, ()):
        span = node.span
        yield {
            "path": format_path(path),
            "value": _told(node, path[-1] if path else "", sources),
            "file": span.source.name,
            "line": span.line + 1,
            "column": span.column + 1,
        }


def commented(tree: Table) -> CommentedMap:
    """The spec for ruamel.yaml to dump: behind each value the file and line where it stands."""
    from ruamel.yaml.comments import CommentedMap

    result = CommentedMap()
    sources = _sources(tree)
    for key, entry in tree.entries.items():
        _add(result, key, entry.node, sources)
    return result


def _add(parent: Any, key: str | int, node: Node, sources: frozenset[str]) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    children = _children(node)
    if isinstance(node, Scalar):
        child: Any = escaped(_told(node, key, sources))
    else:
        child = CommentedMap() if isinstance(node, Table) else CommentedSeq()
    if isinstance(key, int):
        parent.append(child)
    else:
        parent[key] = child
    for name, further in children:
        _add(child, name, further, sources)
    if not children:
        place = f"{clean(node.span.source.name)}:{node.span.line + 1}"
        parent.yaml_add_eol_comment(place, key, column=_COLUMN)


def _leaves(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    children = _children(node)
    for key, child in children:
        yield from _leaves(child, (*path, key))
    if not children:
        yield path, node


def _told(node: Node, key: str | int, sources: frozenset[str]) -> Any:
    if isinstance(node, Table):
        return {name: _told(entry.node, name, sources) for name, entry in node.entries.items()}
    if isinstance(node, Items):
        return [_told(item, key, sources) for item in node.nodes]
    value = node.value
    if isinstance(value, Interpolated) and value.variables:
        names = {str(key), *value.variables}
        if names & sources or any(map(is_secret_name, names)):
            return Variable(value.written)
    return plain(value)


def _sources(tree: Table) -> frozenset[str]:
    """The environment variables that secrets are taken from."""
    found = to_data(tree).get("secrets")
    declared = found.values() if isinstance(found, dict) else ()
    return frozenset(
        str(one["env"]) for one in declared if isinstance(one, dict) and one.get("env")
    )


def _children(node: Node) -> list[tuple[str | int, Node]]:
    if isinstance(node, Table):
        return [(key, entry.node) for key, entry in node.entries.items()]
    return list(enumerate(node.nodes)) if isinstance(node, Items) else []
