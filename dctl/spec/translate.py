"""pydantic's errors as our problems: its place looked up in the tree, its words replaced.

The only file that knows how pydantic reports.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dctl.spec.problems import Path, Problem, Span, add_new, shorten
from dctl.spec.tree import Items, Node, Scalar, Table, to_data

M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
}


def validated(tree: Table, model: type[M], problems: list[Problem]) -> M | None:
    """The tree as a `model`, or None and what is wrong with it among `problems`."""
    data, models = to_data(tree), dict[int, type[BaseModel]]()  # models: see Part
    try:
        return model.model_validate(data, context=models)
    except ValidationError as error:
        details = error.errors(include_url=False)
        add_new(problems, [_problem(d, _locate(d["loc"], tree, data), models) for d in details])
        return None


class _Place(NamedTuple):
    key: Span  # where the last key or item that was found stands
    value: Span
    path: Path
    holder: Any  # the plain mapping in which that key stands
    found: bool  # all of `loc` was


def _locate(loc: Sequence[int | str], root: Table, data: Any) -> _Place:
    """Follow `loc` as far as it leads: members of unions and missing keys lead nowhere."""
    node: Node = root
    place = _Place(root.span, root.span, (), None, False)
    for part in loc:
        holder = data
        if isinstance(node, Table) and isinstance(part, str) and part in node.entries:
            key, node = node.entries[part]
            data = data[part]
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.nodes):
            node, data = node.nodes[part], data[part]
            key = node.span
        else:
            place = place._replace(found=False)
            continue
        place = _Place(key, value_span(key, node), (*place.path, part), holder, True)
    return place


def value_span(key: Span, node: Node) -> Span:
    """Where to point for a value: at a scalar itself, at the key of anything larger."""
    return node.span if isinstance(node, Scalar) and node.span.width else key


def _problem(detail: ErrorDetails, place: _Place, models: Mapping[int, type[BaseModel]]) -> Problem:
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    match detail["type"]:
        case "extra_forbidden":
            model = models.get(id(place.holder))
            keys = (
                [field.alias or key for key, field in model.model_fields.items()] if model else []
            )
            message = f'unknown key "{shorten(name)}"' + did_you_mean(name, keys)
            return Problem(place.key, message, place.path[:-1])
        case "missing" if place.found:
            return Problem(place.key, "must not be empty", place.path)
        case "missing":
            return Problem(place.key, f'missing key "{name}"', place.path)
        case "value_error" if name == "[key]":
            return Problem(place.key, f"the key {detail['ctx']['error']}", place.path)
        case "value_error":
            return Problem(place.value, str(detail["ctx"]["error"]), place.path)
        case "literal_error":
            expected = detail["ctx"]["expected"].replace("'", "")
            value = detail["input"]
            guess = ""
            words = expected.replace(" or ", ", ").split(", ")
            if len(words) > 1 and isinstance(value, str):
                guess = did_you_mean(value, words)
            return Problem(place.value, f"must be {expected}{guess}", place.path)
        case kind:
            message = _WORDS.get(kind) or detail["msg"][:1].lower() + detail["msg"][1:]
            return Problem(place.value, message, place.path)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about a name that does not exist."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
