"""Files, written whole or not at all. Runs on the machine."""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def listed(folder: Any) -> Any:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def read(path: Any) -> Any:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json(path: Any) -> Any:
    try:
        return json.loads(read(path) or "null")
    except ValueError:
        return None


def write(path: Any, text: Any, mode: int = 0o600, gid: int = -1) -> Any:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    draft = path + ".draft-new"
    unlink(draft)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchown(file.fileno(), -1, gid)
        os.fchmod(file.fileno(), mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def unlink(path: Any) -> Any:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
