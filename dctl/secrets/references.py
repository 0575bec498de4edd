"""`secret://name`: who uses which. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

SCHEME = "secret://"

Place = tuple[str | int, ...]
"""Keys and indexes to a value of the spec."""


def secret_name(value: object) -> str:
    """The secret that a value refers to; "" when it is no reference."""
    return value.removeprefix(SCHEME) if is_reference(value) else ""


def is_reference(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.startswith(SCHEME)


def references(data: Mapping[str, Any]) -> dict[str, list[Place]]:
    """Every secret that a spec uses, and where."""
    found: dict[str, list[Place]] = {}
    for place, name in _walk(data, ()):
        found.setdefault(name, []).append(place)
    return found


def _walk(node: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if not str(key).startswith("x-"):
                yield from _walk(value, (*place, key))
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _walk(value, (*place, index))
    elif name := secret_name(node):
        yield place, name
