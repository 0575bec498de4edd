"""Which events a consumer wants: the template matcher. Pure.

A template selects by two attributes, `source` and `type`. Each is a pattern: empty or `*` matches
anything, a trailing `*` matches by prefix, everything else (a `*` elsewhere included) is literal.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """One attribute's pattern, taken apart once so that matching is a single comparison."""

    text: str
    is_prefix: bool

    @classmethod
    def parse(cls, pattern: str) -> "Pattern":
        if not pattern:
            return cls("", is_prefix=True)
        if pattern.endswith("*"):
            return cls(pattern[:-1], is_prefix=True)
        return cls(pattern, is_prefix=False)

    def matches(self, value: str) -> bool:
        return value.startswith(self.text) if self.is_prefix else value == self.text


@dataclass(frozen=True, slots=True)
class Template:
    """What a consumer selects: both patterns must match."""

    source: Pattern
    type: Pattern

    @classmethod
    def parse(cls, *, source: str = "", type: str = "") -> "Template":
        return cls(Pattern.parse(source), Pattern.parse(type))

    def matches(self, *, source: str, type: str) -> bool:
        return self.type.matches(type) and self.source.matches(source)
