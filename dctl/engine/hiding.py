"""What of a value may be shown: plans go to terminals, CI logs and chats, secrets do not.

What is known to be secret is hidden by its value, and what is not by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from dctl.errors import DctlError
from dctl.hosts.base import Json, Observed, Reader
from dctl.secrets.redaction import HIDDEN, learn, redacted_document

# A name that ends in FILE holds a path.
_NAME = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credential|private[_-]?key|api[_-]?key|nonce)"
    r"(?![\w.-]*file\b)[\w.-]*"
)
_IS_SECRET = re.compile(_NAME, re.IGNORECASE)
_ASSIGNED = re.compile(rf"({_NAME}[\"']?\s*[:=]\s*)\S.*", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+(?=@)")


def is_secret_name(name: str) -> bool:
    """Whether a variable or a key of that name holds a secret."""
    return _IS_SECRET.fullmatch(name) is not None


def shown(path: tuple[str, ...], value: Json) -> Json:
    """`value`, the leaf at `path`, with all that looks like a secret by its name taken out."""
    if value is not None and path and is_secret_name(path[-1]):
        return HIDDEN
    return without_secrets(value)


def learn_given(readers: Mapping[str, Reader], things: Sequence[Observed]) -> list[str]:
    """What these were given is hidden from now on; the hosts that do not tell it, in words."""
    silent = {}
    for seen in things:
        if (seen.spec or {}).get("digests"):
            try:
                for text in readers[seen.host].given(seen.name).values():
                    learn(text)
            except DctlError as error:
                silent[seen.host] = error.message
    return [f"{host} does not tell what has to be hidden: {why}" for host, why in silent.items()]


def without_secrets(value: Json) -> Json:
    """Text, or what holds texts, with all that is or looks like a secret taken out."""
    return _without_names(redacted_document(value))


def _without_names(value: Json) -> Json:
    if isinstance(value, list):
        return [_without_names(item) for item in value]
    if isinstance(value, dict):
        return {
            key: HIDDEN if inner is not None and is_secret_name(key) else _without_names(inner)
            for key, inner in value.items()
        }
    if isinstance(value, str):
        return _IN_URL.sub(rf"\1{HIDDEN}", _ASSIGNED.sub(rf"\1{HIDDEN}", value))
    return value
