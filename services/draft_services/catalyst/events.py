"""The event as Catalyst knows it: what is required of one, its subject, its identity. Pure.

Only what it takes to address and store an event is required; optional and extension attributes
are kept as they were sent.
"""

import hashlib
from typing import NamedTuple

from draft_services.catalyst.errors import EventTooLarge, InvalidArgument
from draft_services.engine import subjects

MAX_EVENT_BYTES = 1024 * 1024
# CloudEvents says "1.0"; clients of the Go original say "v1".
SPEC_VERSIONS = ("1.0", "v1")
# The engine drops a connection that names a subject of more than about 4,000 characters.
MAX_SUBJECT_CHARS = 3800


class Event(NamedTuple):
    """One event to store. `payload` is the whole event, serialized."""

    id: str
    source: str
    spec_version: str
    type: str
    payload: bytes


def check(event: Event) -> None:
    """Refuses what cannot be stored as it is, naming the attribute or the limit."""
    for attribute in ("id", "source", "type", "spec_version"):
        if not getattr(event, attribute):
            raise InvalidArgument(f"{attribute}: missing; every event needs it")
    if event.spec_version not in SPEC_VERSIONS:
        raise InvalidArgument(
            f"spec_version: {event.spec_version[:32]!r} is not supported; use 1.0"
        )
    if len(event.payload) > MAX_EVENT_BYTES:
        raise EventTooLarge(
            f"the event has {len(event.payload)} bytes; the limit is {MAX_EVENT_BYTES} (1 MiB): "
            "store the content elsewhere and send a reference"
        )
    length = len(subjects.tokens((event.type, event.source)))
    if length > MAX_SUBJECT_CHARS:
        raise InvalidArgument(
            f"type, source: too long; escaped they take {length} characters together, "
            f"the limit is {MAX_SUBJECT_CHARS}"
        )


def identity(event: Event) -> str:
    """What duplicates are known by: a digest of source and id, so that neither their length nor
    their characters matter to the engine."""
    source = event.source.encode()
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    return hashlib.sha256(b"%d:%b%b" % (len(source), source, event.id.encode())).hexdigest()
