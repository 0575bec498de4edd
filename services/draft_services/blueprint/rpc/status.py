"""What gRPC status an error becomes: one table, one place where a call is ended with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc

from chassis.errors import said
from draft_services.blueprint import errors
from draft_services.engine import errors as engine

_STATUS: Mapping[type[Exception], grpc.StatusCode] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Exhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Denied: grpc.StatusCode.PERMISSION_DENIED,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Damaged: grpc.StatusCode.DATA_LOSS,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    engine.Uncertain: grpc.StatusCode.UNAVAILABLE,
    engine.Unavailable: grpc.StatusCode.UNAVAILABLE,
    # The stream is not there, or another one: a backup is being restored, and this process ends.
    engine.NotFound: grpc.StatusCode.UNAVAILABLE,
    engine.Replaced: grpc.StatusCode.UNAVAILABLE,
    engine.Conflict: grpc.StatusCode.ABORTED,
    engine.TooLarge: grpc.StatusCode.RESOURCE_EXHAUSTED,
    engine.Full: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# Whatever else is raised is a fault of ours: it is logged and answered as INTERNAL by the server.
TRANSLATED = tuple(_STATUS)


def status(error: Exception) -> grpc.StatusCode:
    """The status of one of the translated errors."""
    return _STATUS[type(error)]


@asynccontextmanager
async def answering(context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    """Within this, one of our errors ends the call with its status and its words."""
    try:
        yield
    except TRANSLATED as error:
        await context.abort(status(error), said(error))
