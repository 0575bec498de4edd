"""Scalars that remember how they were written.

YAML turns `1.10` into 1.1 and `017` into 17. Where the model wants text (an environment variable,
a version) the writing counts, so numbers carry it; and a value that came from `${VAR}` is text
that may still become the number or the truth value that the model wants.
"""

from __future__ import annotations

from typing import Any


class Whole(int):
    """A whole number and its writing."""

    text: str

    def __new__(cls, value: int, text: str) -> Whole:
        self = super().__new__(cls, value)
        self.text = text
        return self


class Decimal(float):
    """A number with a fraction, and its writing."""

    text: str

    def __new__(cls, value: float, text: str) -> Decimal:
        self = super().__new__(cls, value)
        self.text = text
        return self


class Interpolated(str):
    """Text in which `${...}` was replaced. Never shown in a message: it may be a secret."""


def plain(value: Any) -> Any:
    """The same data without memory of its writing: what anything but the model wants."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (str, bool, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value
