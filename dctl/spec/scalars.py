"""YAML 1.2's scalars, which here remember how they were written.

YAML turns `1.10` into 1.1 and `017` into 17. Where the model wants text (an environment variable,
a version) the writing counts, so numbers carry it; and a value that came from `${VAR}` is text
that may still become the number or the truth value that the model wants.
"""

from __future__ import annotations

import math
import re
from typing import Any

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


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
    """Text in which `${...}` was replaced. Never shown in a message: it may be a secret. `written`
    is what stands in the file, `variables` are the names of what was put in."""

    written: str
    variables: tuple[str, ...]

    def __new__(cls, value: str, written: str, variables: tuple[str, ...]) -> Interpolated:
        self = super().__new__(cls, value)
        self.written, self.variables = written, variables
        return self


def resolve(text: str) -> str | Whole | Decimal | bool | None:
    """What an unquoted scalar means in YAML 1.2's core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return Whole(int(text, 0 if text[:2] in ("0o", "0x") else 10), text)
    if _FLOAT.fullmatch(text):
        return Decimal(float(text), text)
    if _NOT_A_NUMBER.fullmatch(text):
        return Decimal(math.inf, text)
    return text


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
