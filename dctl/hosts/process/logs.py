"""The end of a rotated log, and its continuation.

supervisor renames x.log to x.log.1, that to x.log.2 and so on, and begins a new x.log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

OLDER = 3  # rotated files that are kept beside the newest
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
                newer = _next(path, file)
                if newer is None:
                    time.sleep(_LOOK)
                    continue
                block = file.read()  # written between our last read and the rotation
                file.close()
                file = newer
            *whole, rest = (rest + block).split(b"\n")
            yield from map(_text, whole)
    finally:
        file.close()


def _opened(path: Path) -> list[BinaryIO]:
    """The files of the log, oldest first.

    Opened from the newest on: a rotation meanwhile only moves files to where we come by later, so
    that one may be met twice, but none is missed.
    """
    files: dict[int, BinaryIO] = {}
    for suffix in ("", *(f".{i}" for i in range(1, OLDER + 1))):
        with suppress(FileNotFoundError):
            file = path.with_name(path.name + suffix).open("rb")
            if files.setdefault(_inode(file), file) is not file:
                file.close()
    return [*reversed(files.values())]


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


def _next(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that was begun after `file`; None while that is the newest."""
    with suppress(FileNotFoundError):
        if path.stat().st_ino == _inode(file):
            return None
    files = _opened(path)
    # One that was rotated away altogether is followed by the oldest that is left.
    places = [i for i, one in enumerate(files, 1) if _inode(one) == _inode(file)] or [0]
    chosen = files[places[0]] if places[0] < len(files) else None
    for one in files:
        if one is not chosen:
            one.close()
    return chosen


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _texts(text: bytes, lines: int) -> list[str]:
    found = text.removesuffix(b"\n").split(b"\n") if text else []
    return [_text(line) for line in found[-lines:]] if lines else []


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", errors="replace")
