"""Any Unicode text as a NATS subject, and back.

A subject is tokens joined by dots, and a token may hold neither dots, blanks nor wildcards. So a
text becomes one token by escaping every byte outside a safe alphabet as ``=XX``, and a key becomes
one token for each of its segments between slashes, so that the engine can filter on a folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_EMPTY = "="  # the empty text; no escape is this short
_ESCAPED = re.compile(r"=([0-9A-F]{2})")


def token(text: str) -> str:
    """One subject token for any text."""
    escaped = "".join(chr(b) if b in _SAFE else f"={b:02X}" for b in text.encode())
    return escaped or _EMPTY


def text(token: str) -> str:
    """The text that `token` was made of."""
    if "=" not in token:
        return token
    if token == _EMPTY:
        return ""
    raw = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), token)
    return raw.encode("latin-1").decode()


def tokens(texts: Iterable[str]) -> str:
    """Tokens joined to a subject."""
    return ".".join(map(token, texts))


def key_subject(kind: str, name: str) -> str:
    """The subject of the key `name` of `kind` (for public keys: the type URL)."""
    return tokens((kind, *name.split("/")))


def split_key_subject(subject: str) -> tuple[str, str]:
    """(kind, name) of a subject that `key_subject` made."""
    kind, *segments = subject.split(".")
    return _kind(kind), "/".join(map(text, segments))


# One text for all keys of a kind: there are few kinds, and of some very many keys.
_kind = lru_cache(maxsize=4096)(text)
