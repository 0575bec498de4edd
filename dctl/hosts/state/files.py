"""Small files written whole or not at all, and readable by their owner only.

Imported by the shim too, so it stays light.
"""

from __future__ import annotations

import json
import os
from _thread import get_ident  # threading itself would double the shim's start
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_whole(path: Path, text: str) -> None:
    """Replace `path` by `text` at once: a reader sees the old or the new, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.new")
    try:
        # Made with its final mode: a secret is never readable by others, not for a moment.
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: object) -> None:
    write_whole(path, json.dumps(value, sort_keys=True))


def read_json(path: Path) -> Any:
    """What stands in `path`, None when there is no such file."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None


def private_folder(path: Path) -> None:
    """Make `path` and what is missing above it, closed to others."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder that may not be there."""
    import shutil  # here, for the shim has no use for it

    with suppress(FileNotFoundError):
        shutil.rmtree(path)
