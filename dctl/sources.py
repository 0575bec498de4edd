"""Which files of a folder are its code, and a digest of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

# Not part of the code: what tools leave behind.
_SKIPPED = {"__pycache__", ".venv", "node_modules"}


def code_files(folder: Path) -> list[Path]:
    """The files below `folder` that are its code, in a stable order."""
    return sorted(_files(folder))


def source_digest(folder: Path) -> str:
    """Changes when a file of the folder's code does: its name or its content."""
    digest = hashlib.sha256()
    for file in code_files(folder):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _SKIPPED or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.is_file():
            yield entry
