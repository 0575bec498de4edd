"""The sections of a CHANGELOG.md as keepachangelog.com lays it out. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dctl.errors import NotFoundError

UNRELEASED = "Unreleased"

_HEAD = re.compile(r"## +\[?(?:v(?=\d))?([^\]\s]+)\]?(?: +- +(\S+))?(?: .*)?", re.IGNORECASE)
_LINK = re.compile(r"\[[^\]]+\]: \S+")


@dataclass(frozen=True, slots=True)
class Notes:
    """What a version says of itself. `changes` are its texts by their kind: Added, Fixed, ..."""

    version: str
    date: str
    text: str

    @property
    def changes(self) -> Mapping[str, str]:
        found: dict[str, list[str]] = {}
        kind = ""
        for line in self.text.splitlines():
            if line.startswith("### "):
                kind = line.removeprefix("### ").strip()
            else:
                found.setdefault(kind, []).append(line)
        texts = {kind: "\n".join(lines).strip() for kind, lines in found.items()}
        return {kind: text for kind, text in texts.items() if text}


def sections(text: str) -> list[Notes]:
    """All of them, in the order of the file."""
    found: list[tuple[str, str, list[str]]] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        head = None if fenced else _HEAD.fullmatch(line.rstrip())
        if head:
            found.append((head[1], head[2] or "", []))
        elif found:
            found[-1][2].append(line)
    return [Notes(version, date, _body(lines)) for version, date, lines in found]


def notes_of(text: str, version: str, where: str) -> Notes:
    """The section of a version, or of what is Unreleased. Raises NotFoundError."""
    known = sections(text)
    wanted = version.removeprefix("v").lower()
    for notes in known:
        if notes.version.lower() == wanted:
            return notes
    names = [notes.version for notes in known]
    near = difflib.get_close_matches(version, names, n=1)
    meant = f'; did you mean "{near[0]}"?' if near else ""
    there = ", ".join(names[:10]) or "no section at all"
    raise NotFoundError(f'{where} has no section "{version}"{meant}', hint=f"there are: {there}")


def _body(lines: list[str]) -> str:
    """Without the addresses of links, which stand at the end of the file."""
    return "\n".join(line for line in lines if not _LINK.fullmatch(line)).strip()
