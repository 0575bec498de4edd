"""Semantic versions, and the git tags that carry them: `services/cart/v1.4.0`, as Go names modules
of a repository; `v1.4.0` for its root. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from dctl.errors import UsageError

Part = Literal["major", "minor", "patch"]
PARTS: tuple[Part, ...] = ("major", "minor", "patch")

_VERSION = re.compile(r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """Numbers as they are compared. What comes after a `-` is not for what others depend on."""

    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def next(self, part: Part) -> Version:
        """The next one that says: breaking, new, or better."""
        match part:
            case "major":
                return Version(self.major + 1, 0, 0)
            case "minor":
                return Version(self.major, self.minor + 1, 0)
            case "patch":
                return Version(self.major, self.minor, self.patch + 1)


FIRST = Version(0, 0, 0)
"""What comes before the first release."""


def parse(text: str) -> Version:
    """A version as somebody types it, with or without a `v`. Raises UsageError."""
    match = _VERSION.fullmatch(text.removeprefix("v"))
    if match is None:
        raise UsageError(f'"{text}" is no version', hint="write major.minor.patch, such as 1.4.0")
    return Version(*map(int, match.groups()))


def tag_of(path: str, version: Version) -> str:
    """The tag of a path of the repository; "" is its root."""
    return f"{path}/v{version}" if path else f"v{version}"


def versions_of(path: str, tags: Iterable[str]) -> list[Version]:
    """The versions of a path that tags tell of, oldest first; other tags are nobody's business."""
    prefix = f"{path}/v" if path else "v"
    found = (_VERSION.fullmatch(tag.removeprefix(prefix)) for tag in tags if tag.startswith(prefix))
    return sorted(Version(*map(int, match.groups())) for match in found if match)
