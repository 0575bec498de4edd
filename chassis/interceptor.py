"""What every call passes, in one interceptor (three would cost twice as much a call): errors
become statuses, and the debug log gets a line."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import grpc

from chassis.errors import RpcError

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a name for mypy; grpc has no such generic
_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_HIDDEN = "internal error; the service's log has it"


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, when it is first called."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:  # an unknown method: any caller may name any number of them
                return handler
            self._wrapped[method] = _wrap(handler, method)
        return self._wrapped[method]


def _wrap(handler: Handler, method: str) -> Handler:
    kind = next(kind for kind in _KINDS if getattr(handler, kind, None))
    behavior = getattr(handler, kind)
    if inspect.isasyncgenfunction(behavior):
        wrapper = _async_generator
    elif inspect.iscoroutinefunction(behavior):
        wrapper = _coroutine
    elif inspect.isgeneratorfunction(behavior):
        wrapper = _generator
    else:
        wrapper = _function
    make = getattr(grpc, f"{kind}_rpc_method_handler")
    made: Handler = make(
        wrapper(behavior, method),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made


def _coroutine(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    @functools.wraps(behavior)
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        async with _watched(method, context):
            return await behavior(request, context)

    return call


def _async_generator(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    @functools.wraps(behavior)
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        async with _watched(method, context):
            async for answer in behavior(request, context):
                yield answer

    return call


def _function(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    @functools.wraps(behavior)
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        with _watched_in_thread(method, context):
            return behavior(request, context)

    return call


def _generator(behavior: Callable[..., Any], method: str) -> Callable[..., Any]:
    @functools.wraps(behavior)
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with _watched_in_thread(method, context):
            yield from behavior(request, context)

    return call


@asynccontextmanager
async def _watched(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[None]:
    began = time.perf_counter()
    try:
        yield
        _done(method, "OK", began)
    except RpcError as error:
        _done(method, error.code.name, began)
        await context.abort(error.code, str(error))
    except grpc.aio.AbortError:
        _done(method, str(context.code()), began)
        raise
    except (asyncio.CancelledError, GeneratorExit):
        _done(method, "CANCELLED", began)
        raise
    except Exception:
        log.exception("%s failed", method)
        await context.abort(grpc.StatusCode.INTERNAL, _HIDDEN)


@contextmanager
def _watched_in_thread(method: str, context: grpc.ServicerContext) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
        _done(method, "OK", began)
    except RpcError as error:
        _done(method, error.code.name, began)
        context.abort(error.code, str(error))
    except Exception:
        # abort() itself ends a call by raising; then the status is set already.
        if getattr(context, "code", lambda: None)() not in (None, 0):
            raise
        log.exception("%s failed", method)
        context.abort(grpc.StatusCode.INTERNAL, _HIDDEN)


def _done(method: str, code: str, began: float) -> None:
    if log.isEnabledFor(logging.DEBUG):
        took = (time.perf_counter() - began) * 1000
        log.debug("%s %s in %.1f ms", method, code, took)
