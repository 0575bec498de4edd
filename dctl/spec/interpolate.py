"""`${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$` in values.

What comes in is text: it never becomes structure. A `$` before anything else stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from dctl.spec.problems import Path, Problem
from dctl.spec.scalars import Interpolated
from dctl.spec.tree import Items, Node, Scalar, unusable

_PATTERN = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:[-?])(?P<word>[^{}$]*))?\}"
    r"|(?P<broken>\{))"
)


def interpolate(root: Node, env: Mapping[str, str], problems: list[Problem]) -> None:
    """Replace in every value below `root`, once per node however often it is aliased."""
    _walk(root, (), env, problems, set())


def _walk(
    node: Node, path: Path, env: Mapping[str, str], problems: list[Problem], seen: set[int]
) -> None:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, Scalar):
        done = isinstance(node.value, Interpolated)  # `include` had to be read first
        if isinstance(node.value, str) and "$" in node.value and not done:
            try:
                names = dict.fromkeys(found["name"] for found in _PATTERN.finditer(node.value))
                variables = tuple(name for name in names if name)
                node.value = Interpolated(_replace(node.value, env), node.value, variables)
            except ValueError as error:
                problems.append(Problem(node.span, str(error), path))
    elif isinstance(node, Items):
        for index, item in enumerate(node.nodes):
            _walk(item, (*path, index), env, problems, seen)
    else:
        for key, entry in node.entries.items():
            if path or not key.startswith("x-"):  # unless something else refers to it
                _walk(entry.node, (*path, key), env, problems, seen)


def _replace(text: str, env: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        if match["broken"]:
            raise ValueError(
                'cannot read "${": write ${NAME}, ${NAME:-default} or ${NAME:?message}, '
                "and $$ for a dollar"
            )
        name, operator = match["name"], match["operator"]
        found = env.get(name, "")
        if found or (name in env and not operator):
            if fault := unusable(found):
                raise ValueError(f"{name} {fault}")
            return found
        if operator == ":-":
            return match["word"]
        state = "is empty" if name in env else "is not set"
        reason = match["word"] or "set it, or give a default: ${" + name + ":-...}"
        raise ValueError(f"{name} {state}: {reason}")

    return _PATTERN.sub(value, text)
