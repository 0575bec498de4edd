"""A loaded spec as text: a spec again, and where each of its values was written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dctl.spec.problems import Path, Span, clean, format_path
from dctl.spec.scalars import plain
from dctl.spec.tree import Items, Node, Scalar, Table, to_data

if TYPE_CHECKING:
    from ruamel.yaml.comments import CommentedMap


_COLUMN = 48  # of the comments; a longer line has its comment right behind it


def escaped(value: Any) -> Any:
    """Dollars doubled, so that reading the output replaces nothing."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def origins(tree: Table) -> Iterator[dict[str, Any]]:
    """Each value with its path and its place, in the order of the spec."""
    for path, value, span in _leaves(tree, ()):
        yield {
            "path": format_path(path),
            "value": value,
            "file": span.source.name,
            "line": span.line + 1,
            "column": span.column + 1,
        }


def commented(tree: Table) -> CommentedMap:
    """The spec for ruamel.yaml to dump: behind each value the file and line where it stands."""
    from ruamel.yaml.comments import CommentedMap

    result = CommentedMap()
    for key, entry in tree.entries.items():
        _add(result, key, entry.node)
    return result


def _add(parent: Any, key: str | int, node: Node) -> None:
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    children = _children(node)
    if isinstance(node, Scalar):
        child: Any = escaped(plain(node.value))
    else:
        child = CommentedMap() if isinstance(node, Table) else CommentedSeq()
    if isinstance(key, int):
        parent.append(child)
    else:
        parent[key] = child
    for name, further in children:
        _add(child, name, further)
    if not children:
        place = f"{clean(node.span.source.name)}:{node.span.line + 1}"
        parent.yaml_add_eol_comment(place, key, column=_COLUMN)


def _leaves(node: Node, path: Path) -> Iterator[tuple[Path, Any, Span]]:
    children = _children(node)
    for key, child in children:
        yield from _leaves(child, (*path, key))
    if not children:
        yield path, plain(to_data(node)), node.span


def _children(node: Node) -> list[tuple[str | int, Node]]:
    if isinstance(node, Table):
        return [(key, entry.node) for key, entry in node.entries.items()]
    return list(enumerate(node.nodes)) if isinstance(node, Items) else []
