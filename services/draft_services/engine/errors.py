"""The engine's errors, and the one place where nats-py's become ours.

A caller distinguishes by class what it can do: try again (`Unavailable`), find out first whether
the write happened (`Uncertain`), read and decide anew (`Conflict`), start over (`Compacted`), or
report (`TooLarge`, `Full`, the rest).
"""

# ruff: noqa: N818  (states of affairs, named for what a caller does about them)

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import nats.errors
import nats.js.errors


class EngineError(Exception):
    """Something that the engine could not do; `code` is JetStream's own, where it gave one."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(EngineError):
    """The engine cannot be reached or does not serve now. Nothing was written."""


class Uncertain(Unavailable):
    """No answer came in time: a write may or may not have happened."""


class Conflict(EngineError):
    """A condition did not hold. `current` is the revision that was found, where the engine says."""

    def __init__(self, message: str, *, current: int | None, code: int | None = None) -> None:
        super().__init__(message, code=code)
        self.current = current


class NotFound(EngineError):
    """The engine has no such message, stream or consumer."""


class Compacted(EngineError):
    """What was asked for is older than what is kept."""


class Replaced(EngineError):
    """The stream is not the one that was read before: its data was lost, or a backup restored."""


class TooLarge(EngineError):
    """One message is larger than the engine takes."""


class Full(EngineError):
    """The engine's storage limit is reached."""


class Misused(EngineError):
    """The engine refused what we asked: a mistake of ours, or a permission that is missing."""


# The nearest class of the list decides, along the error's ancestors. `Error` itself is left out on
# purpose: a class that nats-py adds is then unmapped, and a test says so.
BY_CLASS: Mapping[type[BaseException], type[EngineError]] = {
    nats.errors.TimeoutError: Uncertain,
    nats.errors.NoRespondersError: Unavailable,
    nats.errors.StaleConnectionError: Uncertain,
    nats.errors.OutboundBufferLimitError: Unavailable,
    nats.errors.ConnectionClosedError: Unavailable,
    nats.errors.ConnectionDrainingError: Unavailable,
    nats.errors.ConnectionReconnectingError: Unavailable,
    nats.errors.NoServersError: Unavailable,
    nats.errors.SlowConsumerError: Unavailable,
    nats.errors.SecureConnRequiredError: Misused,
    nats.errors.SecureConnWantedError: Misused,
    nats.errors.SecureConnFailedError: Unavailable,
    nats.errors.AuthorizationError: Misused,
    nats.errors.InvalidUserCredentialsError: Misused,
    nats.errors.BadSubscriptionError: Misused,
    nats.errors.BadSubjectError: Misused,
    nats.errors.BadHeaderError: Misused,
    nats.errors.BadTimeoutError: Misused,
    nats.errors.JsonParseError: Misused,
    nats.errors.InvalidCallbackTypeError: Misused,
    nats.errors.ProtocolError: Uncertain,
    nats.errors.ServerNotInPoolError: Misused,
    nats.errors.NotJSMessageError: Misused,
    nats.errors.MsgAlreadyAckdError: Misused,
    nats.errors.MaxPayloadError: TooLarge,
    # We speak JetStream's API as JSON and never use nats-py's layer over it, so none of these
    # arrives; they are mapped together, by the base class they share.
    nats.js.errors.Error: Misused,
    # A socket's errors pass through nats-py as they are.
    asyncio.TimeoutError: Uncertain,
    OSError: Unavailable,
}

# JetStream's error codes (`err_code`) that mean something to a caller.
# A condition that did not hold: by what is stored, and by what a cluster is about to store.
WRONG_LAST_SEQUENCE = 10071
WRONG_SEQUENCE_UNDER_WAY = 10164
DUPLICATE_IN_BATCH = 10201
ON_ITS_WAY = 10158  # the same message was sent before, and is yet to be stored
NAME_IN_USE = 10058
NO_STREAM = 10059
_BY_CODE: Mapping[int, type[EngineError]] = {
    10023: Full,  # insufficient resources
    10028: Full,  # memory resources exceeded
    10047: Full,  # storage resources exceeded
    10077: Full,  # store failed: the stream's limits are reached, or the disk is full
    10054: TooLarge,
    ON_ITS_WAY: Uncertain,
    10008: Unavailable,  # JetStream not available now (no leader, or still starting)
    10005: Unavailable,  # no suitable peers for placement: a cluster that is still forming
    10074: Unavailable,  # the same, of a number of replicas
    10039: Misused,  # JetStream not enabled
}
_BY_STATUS: Mapping[int, type[EngineError]] = {404: NotFound, 500: Unavailable, 503: Unavailable}


def mapped(kind: type[BaseException]) -> type[EngineError] | None:
    """Which of our errors a class of nats-py becomes, or None for one that nobody has judged."""
    return next((BY_CLASS[base] for base in kind.__mro__ if base in BY_CLASS), None)


def translate(error: Exception, doing: str) -> EngineError:
    """Our error for one that nats-py raised while `doing` something."""
    ours = mapped(type(error)) or EngineError
    words = str(error) or type(error).__name__
    if ours is Uncertain:
        words = "no answer in time; a write may or may not have happened"
    elif isinstance(error, nats.errors.NoRespondersError):
        words = "JetStream does not answer (it is starting, or the stream has no leader)"
    return ours(f"{doing}: {words}")


def refused(answer: Mapping[str, Any], doing: str) -> EngineError:
    """Our error for the `error` object of a JetStream answer."""
    code, status = answer.get("err_code"), answer.get("code")
    words = f"{doing}: {answer.get('description', 'refused without a word')}"
    if code in (WRONG_LAST_SEQUENCE, WRONG_SEQUENCE_UNDER_WAY):
        found = re.search(r"(\d+)\s*$", words)
        return Conflict(words, current=int(found[1]) if found else None, code=code)
    ours = _BY_CODE.get(code or 0) or _BY_STATUS.get(status or 0) or Misused
    if ours is Full:
        words += "; the engine has no more room: raise core.nats.max_store in the spec, or its disk"
    return ours(words, code=code)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Within this, whatever nats-py raises leaves as one of ours."""
    try:
        yield
    except (TimeoutError, nats.errors.Error, OSError) as error:
        raise translate(error, doing) from error
