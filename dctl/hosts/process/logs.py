"""The end of a rotated log, and its continuation.

supervisor renames x.log to x.log.1, that to x.log.2 and so on, and begins a new x.log.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 64 * 1024
_LOOK = 0.1  # seconds between two looks for more


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines, from older files too when the newest has too few."""
    found: list[bytes] = []
    for file in reversed(_generations(path)):
        if len(found) >= lines:
            break
        try:
            found = _last_lines(file, lines - len(found)) + found
        except FileNotFoundError:  # rotated away meanwhile
            continue
    return [_text(line) for line in found]


def follow(path: Path, lines: int) -> Iterator[str]:
    """The last lines and then every further one, whole, for as long as it is asked for more."""
    while not path.exists():
        time.sleep(_LOOK)
    file = path.open("rb")
    try:
        # What `tail` gives out ends where we go on: both look at the same open file.
        end = os.fstat(file.fileno()).st_size
        yield from _before(path, file.fileno(), end, lines)
        file.seek(end)
        rest = b""
        while True:
            rest += file.read(_BLOCK)
            *whole, rest = rest.split(b"\n")
            yield from map(_text, whole)
            if file.tell() < os.fstat(file.fileno()).st_size:
                continue
            newer = _newer(path, os.fstat(file.fileno()).st_ino)
            if newer is None:
                time.sleep(_LOOK)
                continue
            if more := file.read():  # written between our last read and the rotation
                *whole, rest = (rest + more).split(b"\n")
                yield from map(_text, whole)
            file.close()
            file = newer.open("rb")
    finally:
        file.close()


def _before(path: Path, descriptor: int, end: int, lines: int) -> list[str]:
    start = max(0, end - _BLOCK)
    while True:
        block = os.pread(descriptor, end - start, start)
        if start == 0 or block.count(b"\n") > lines:
            break
        start = max(0, start - _BLOCK)
    found = block[: block.rfind(b"\n") + 1].splitlines()
    return [_text(line) for line in found[-lines:]] if lines else []


def _newer(path: Path, inode: int) -> Path | None:
    """The file that was begun after the one with `inode`; None while that is the newest."""
    files = _generations(path)
    for older, newer in itertools.pairwise(files):
        if _inode(older) == inode:
            return newer
    if files and _inode(files[-1]) != inode:
        return files[0]  # ours was rotated away altogether: go on with the oldest left
    return None


def _generations(path: Path) -> list[Path]:
    """Existing files of the log, oldest first."""
    older: list[Path] = []
    while (file := path.with_name(f"{path.name}.{len(older) + 1}")).exists():
        older.append(file)
    return [*reversed(older), *([path] if path.exists() else [])]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return -1


def _last_lines(path: Path, lines: int) -> list[bytes]:
    with path.open("rb") as file:
        start = file.seek(0, os.SEEK_END)
        block = b""
        while start > 0 and block.count(b"\n") <= lines:
            step = min(_BLOCK, start)
            start -= step
            file.seek(start)
            block = file.read(step) + block
    return block.splitlines()[-lines:] if lines else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
