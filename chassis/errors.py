"""What goes wrong, as one tree.

`ConfigError` and its like end a start with one line. `RpcError` and its children are for
servicers: raised in a call, they become its status; anything else becomes INTERNAL, logged here
and not told to the caller.
"""

from __future__ import annotations

import grpc

# A status travels in a header, each byte that is not ASCII as three; peers refuse more than 8 KB,
# and what the client would be told then is that its stream was removed.
_BEGINNING, _END = 1600, 400


class ChassisError(Exception):
    """Root of all; its text says what is wrong, where, and what to do."""


class ConfigError(ChassisError):
    """The configuration cannot be used."""


class BindError(ChassisError):
    """The address to serve on is taken or not ours."""


class RpcError(ChassisError):
    """A call that ends with a status other than OK."""

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN


class InvalidArgument(RpcError):  # noqa: N818 - named like the status that it becomes
    """The request is wrong; the text names the field."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class NotFound(RpcError):  # noqa: N818
    """What the request names is not there."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(RpcError):  # noqa: N818
    """What the request would make is there already."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(RpcError):  # noqa: N818
    """Not in this state; trying again will not help by itself."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class PermissionDenied(RpcError):  # noqa: N818
    """The caller is known and may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(RpcError):  # noqa: N818
    """The caller is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(RpcError):  # noqa: N818
    """More than there is room for, or than one may have."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(RpcError):  # noqa: N818
    """Not now; trying again will help."""

    code = grpc.StatusCode.UNAVAILABLE


class LockError(Unavailable):
    """A lock could not be had. A call in which it leaves a handler may be tried again."""


class LockTakenError(LockError):
    """Somebody else holds the lock; the text says who."""


class LockLostError(LockError):
    """The lock was lost while it was held: what it protected may be somebody else's now."""

    def __init__(self, message: str, *, held: object) -> None:
        super().__init__(message)
        self.held = held


def said(error: BaseException) -> str:
    """The text of an error as a status can carry it: of a long one, such as one that repeats what
    was asked, the beginning and the end."""
    text = str(error).encode()
    if len(text) <= _BEGINNING + _END:
        return text.decode()
    return f"{text[:_BEGINNING].decode(errors='ignore')} ... {text[-_END:].decode(errors='ignore')}"
