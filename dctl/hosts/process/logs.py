"""The end of a rotated log, and its continuation.

supervisor renames x.log to x.log.1, that to x.log.2 and so on, and begins a new x.log.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

_BLOCK = 64 * 1024
_LOOK = 0.1  # seconds between two looks for more


def tail(path: Path, lines: int) -> list[str]:
    """The last `lines` lines, from older files too when the newest has too few."""
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in _opened(path)]
        return _texts(_end(files, lines), lines)


def follow(path: Path, lines: int) -> Iterator[str]:
    """The last lines and then every further one, whole, for as long as it is asked for more."""
    while not (files := _opened(path)):
        time.sleep(_LOOK)
    *older, file = files
    with ExitStack() as stack:
        for one in older:
            stack.enter_context(one)
        # From here on `file` stands where the last lines end.
        last, _, rest = _end(files, lines).rpartition(b"\n")
    try:
        yield from _texts(last, lines)
        while True:
            block = file.read(_BLOCK)
            if not block:
                newer = _newer(path, os.fstat(file.fileno()).st_ino)
                if newer is None:
                    time.sleep(_LOOK)
                    continue
                block = file.read()  # written between our last read and the rotation
                file.close()
                file = newer.open("rb")
            *whole, rest = (rest + block).split(b"\n")
            yield from map(_text, whole)
    finally:
        file.close()


def _opened(path: Path) -> list[BinaryIO]:
    files: list[BinaryIO] = []
    for generation in _generations(path):
        with suppress(FileNotFoundError):  # rotated away meanwhile
            files.append(generation.open("rb"))
    return files


def _end(files: Sequence[BinaryIO], lines: int) -> bytes:
    """Enough of the end of `files` (oldest first) for `lines` lines. They are one text: rotation
    cuts anywhere. The newest is left standing at its end."""
    text = b""
    for file in reversed(files):
        end = start = file.seek(0, os.SEEK_END)
        while start > 0 and text.count(b"\n") <= lines:
            step = min(_BLOCK, start)
            start -= step
            text = os.pread(file.fileno(), step, start) + text
        file.seek(end)
        if start > 0:
            break
    return text


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


def _texts(text: bytes, lines: int) -> list[str]:
    found = text.removesuffix(b"\n").split(b"\n") if text else []
    return [_text(line) for line in found[-lines:]] if lines else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
