"""What was done to a cluster, one JSON object a line, each durable before it counts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from dctl.hosts.base import Json

_log = logging.getLogger(__name__)

_LARGEST = 1 << 20  # bytes: some thousand entries; when there are more, the older half goes


def append(path: Path, entry: Mapping[str, Json]) -> None:
    """Add one entry."""
    line = json.dumps(entry, sort_keys=True).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # a crash cut the last entry off: keep it from spoiling this one
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if size + len(line) > _LARGEST:
        _forget_half(path)


def _forget_half(path: Path) -> None:
    half = path.read_bytes()[-_LARGEST // 2 :]
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(half[half.index(b"\n") + 1 :])
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def entries(path: Path) -> list[Mapping[str, Json]]:
    """All entries, oldest first; what a crash cut off is left out, with a warning."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.append(json.loads(line))
        except ValueError:
            _log.warning("%s:%d is no whole entry and was skipped", path, number)
    return found
