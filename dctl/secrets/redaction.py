"""The one redactor: what is known to be secret leaves dctl in no form.

A value is learnt when it is had, and from then on everything that leaves the process is looked
through: the text of both output streams, whoever writes it, and the values of documents before
they are put into JSON or YAML, where a line may be broken in the middle of a secret.

It is one for the process, since what was learnt must not leave by any way out of it.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HIDDEN = "(hidden)"

SHORTEST = 4
"""Characters: what is shorter is in half of all words, and is hidden only as a whole value."""

_LINE = 8  # characters of a line of a longer secret that is hidden by itself, as logs print it
_FRAGMENT = 6  # characters of a form that depends on what stands around it


class Redactor:
    """What is known to be secret, in all forms that it may take."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: frozenset[str] = frozenset()
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self, value: str) -> None:
        """From now on `value` is hidden."""
        with self._lock:
            if not value or value in self._values:
                return
            self._values |= {value}
            self._forms |= forms(value)
            # The longest first: one secret may be a part of another.
            longest = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def text(self, text: str) -> str:
        """`text` without any secret."""
        return text if self._pattern is None else self._pattern.sub(HIDDEN, text)

    def document(self, value: Any) -> Any:
        """A JSON value without any secret; a short one is hidden where it is a whole value."""
        if not self._values:
            return value
        if isinstance(value, str):
            return HIDDEN if value in self._values else self.text(value)
        if isinstance(value, dict):
            return {
                self.text(key) if isinstance(key, str) else key: self.document(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.document(inner) for inner in value]
        whole = not isinstance(value, bool) and isinstance(value, int | float)
        return HIDDEN if whole and str(value) in self._values else value


def forms(value: str) -> set[str]:
    """What a secret may look like in text: as it is, line by line, and as JSON, a shell, a URL,
    base64 and hexadecimal digits write it."""
    # Here, for every start of dctl passes through this module, and few know a secret.
    import json
    from urllib.parse import quote, quote_plus

    bare = value.strip()
    if len(bare) < SHORTEST:
        return set()
    lines = [line.strip() for line in bare.splitlines()]
    # "-----BEGIN ..." is no secret, and stands in many texts.
    parts = [line for line in lines if len(line) >= _LINE and not line.startswith("-----")]
    found: set[str] = set()
    for text in (value, bare, *(parts if len(lines) > 1 else ())):
        found |= {text, repr(text)[1:-1], text.replace("'", "'\"'\"'")}
        found |= {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
        found |= {quote(text, safe=""), quote(text), quote_plus(text)}
    for whole in (value, bare):
        data = whole.encode("utf-8", "surrogateescape")
        found |= {data.hex(), data.hex().upper(), *_base64(data)}
    return {form for form in found if len(form) >= SHORTEST}


def _base64(data: bytes) -> Iterator[str]:
    """The digits that tell of `data` alone, wherever it stands in what was encoded."""
    import base64

    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        first = (0, 2, 3)[before]  # these digits tell of what stands before it, too
        last = len(encoded) - ((before + len(data)) % 3 != 0)
        digits = encoded[first:last]
        if len(digits) >= _FRAGMENT:
            yield digits
            yield digits.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")

_redactor = Redactor()


def learn(value: str) -> None:
    """From now on `value` is hidden in all that leaves this process."""
    _redactor.learn(value)


def redacted(text: str) -> str:
    """`text` without any secret that is known."""
    return _redactor.text(text)


def redacted_document(value: Any) -> Any:
    """A JSON value without any secret that is known."""
    return _redactor.document(value)


@contextmanager
def guarded() -> Iterator[None]:
    """Look through all that is written to stdout and stderr; what is learnt meanwhile is known
    until the end of it."""
    global _redactor
    before, streams = _redactor, (sys.stdout, sys.stderr)
    _redactor = Redactor()
    sys.stdout, sys.stderr = map(_guard, streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        _redactor = before


class _Guard:
    """A stream through which no secret goes."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Text(_Guard):
    def write(self, text: str) -> int:
        self._stream.write(redacted(text) if isinstance(text, str) else text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    @property
    def buffer(self) -> Any:
        return _Bytes(self._stream.buffer)


class _Bytes(_Guard):
    def write(self, data: bytes) -> int:
        text = bytes(data).decode("utf-8", "surrogateescape")
        self._stream.write(redacted(text).encode("utf-8", "surrogateescape"))
        return len(data)


def _guard(stream: Any) -> Any:
    return stream if stream is None else _Text(stream)


def unguarded(stream: Any) -> Any:
    """The stream itself, for the one command that is asked to print a secret."""
    return stream._stream if isinstance(stream, _Guard) else stream
