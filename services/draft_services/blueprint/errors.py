"""The errors of Blueprint's domain; those of the engine pass beside them.

Each message says what is wrong and what to do. `rpc.status` gives every class its gRPC status.
"""

# ruff: noqa: N818  (named like the gRPC statuses that they become)

from __future__ import annotations


class BlueprintError(Exception):
    """A request that cannot be answered."""


class InvalidArgument(BlueprintError):
    """The request itself is wrong; the message names the field."""


class NotFound(BlueprintError):
    """What was asked for does not exist."""


class TooLarge(BlueprintError):
    """A value exceeds its limit."""


class Exhausted(BlueprintError):
    """There is as much as there may be: of keys, of bytes, of watchers."""


class OutOfRange(BlueprintError):
    """A revision that cannot be resumed from."""


class Unauthenticated(BlueprintError):
    """The nonce is wrong."""


class Denied(BlueprintError):
    """The token does not prove what is asked."""


class FailedPrecondition(BlueprintError):
    """The cluster is not in the state that the request needs."""


class Damaged(BlueprintError):
    """What the engine keeps is no longer whole."""


class Unimplemented(BlueprintError):
    """Blueprint does not know how to do this."""
