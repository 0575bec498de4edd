"""What every call passes, in one interceptor (three would cost twice as much a call): errors
become statuses, the debug log gets a line, and open streams end when the server does."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc

from chassis.errors import RpcError

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a name for mypy; grpc has no such generic
Behavior = Callable[[Any, Any], Any]
_Failure = tuple[grpc.StatusCode, str]

_KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_HIDDEN = "internal error; the service's log has it"
# What a call to another service failed with and a caller may see: trying again later is right.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, when it is first called."""

    def __init__(self) -> None:
        self._wrapped: dict[str, Handler] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._dismissed: set[asyncio.Task[Any]] = set()
        self.last = time.monotonic()
        """When the last call came; who only looks after us (health, reflection) is no caller."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        method = handler_call_details.method
        if not method.startswith("/grpc."):
            self.last = time.monotonic()
        if method not in self._wrapped:
            handler = await continuation(handler_call_details)
            if handler is None:  # an unknown method: any caller may name any number of them
                return handler
            self._wrapped[method] = self._wrap(handler, method)
        return self._wrapped[method]

    def end_streams(self) -> None:
        """End every open stream of answers; its caller is told to call again. A watch would
        otherwise keep a server that stops waiting for as long as it may."""
        for task in self._streams - self._dismissed:
            self._dismissed.add(task)
            task.cancel()

    def _wrap(self, handler: Handler, method: str) -> Handler:
        kind = next(kind for kind in _KINDS if getattr(handler, kind, None))
        behavior: Behavior = getattr(handler, kind)
        if not (inspect.iscoroutinefunction(behavior) or inspect.isasyncgenfunction(behavior)):
            generates = inspect.isgeneratorfunction(behavior)
            wrapper = (_generator if generates else _function)(behavior, method)
        elif kind.endswith("_stream"):
            wrapper = self._stream(behavior, method)
        else:
            wrapper = _single(behavior, method)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        made: Handler = make(
            wrapper,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return made

    def _stream(self, behavior: Behavior, method: str) -> Behavior:
        """A coroutine even for a generator: so the generator is closed when its call ends, not
        when it is collected."""
        generates = inspect.isasyncgenfunction(behavior)

        @functools.wraps(behavior)
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            began = time.perf_counter()
            task = asyncio.current_task()
            assert task is not None
            self._streams.add(task)
            try:
                if generates:
                    async with aclosing(behavior(request, context)) as answers:
                        async for answer in answers:
                            await context.write(answer)
                else:
                    await behavior(request, context)
                _done(method, "OK", began)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and task in self._dismissed:
                    task.uncancel()
                    _done(method, "UNAVAILABLE", began)
                    why = "this instance is going down: call again"
                    await context.abort(grpc.StatusCode.UNAVAILABLE, why)
                await _end(method, began, error, context)
                raise
            finally:
                self._streams.discard(task)
                self._dismissed.discard(task)

        # functools.wraps would show grpc the generator that this is not.
        del call.__wrapped__
        return call


def _single(behavior: Behavior, method: str) -> Behavior:
    @functools.wraps(behavior)
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        began = time.perf_counter()
        try:
            answer = await behavior(request, context)
        except BaseException as error:
            await _end(method, began, error, context)
            raise
        _done(method, "OK", began)
        return answer

    return call


def _function(behavior: Behavior, method: str) -> Behavior:
    """For a plain function, which gRPC runs in a thread."""

    @functools.wraps(behavior)
    def call(request: Any, context: grpc.ServicerContext) -> Any:
        began = time.perf_counter()
        try:
            answer = behavior(request, context)
        except BaseException as error:
            if failure := _failure(method, began, error):
                context.abort(*failure)
            raise
        _done(method, "OK", began)
        return answer

    return call


def _generator(behavior: Behavior, method: str) -> Behavior:
    @functools.wraps(behavior)
    def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        began = time.perf_counter()
        try:
            yield from behavior(request, context)
        except BaseException as error:
            failure = _failure(method, began, error)
            if failure is None:
                raise
            # Not abort: from a generator in a thread, gRPC 1.85 now and then never ends the call.
            context.set_code(failure[0])
            context.set_details(failure[1])
            return
        _done(method, "OK", began)

    return call


async def _end(
    method: str, began: float, error: BaseException, context: grpc.aio.ServicerContext[Any, Any]
) -> None:
    if failure := _failure(method, began, error):
        await context.abort(*failure)


def _failure(method: str, began: float, error: BaseException) -> _Failure | None:
    """The status for what a servicer raised; None when the call has ended by itself. Nothing of
    an unexpected error reaches the caller: it may hold what is not theirs to see."""
    failure: _Failure | None = None
    match error:
        case RpcError():
            failure = error.code, str(error)
        case grpc.aio.AbortError():
            _done(method, "aborted", began)
            return None
        case asyncio.CancelledError() | GeneratorExit():
            _done(method, "CANCELLED", began)
            return None
        case NotImplementedError():
            failure = grpc.StatusCode.UNIMPLEMENTED, f"{method} is not implemented here"
        case grpc.aio.AioRpcError() if error.code() in _PASSING:
            log.warning("%s: a call to another service failed: %s", method, error.details())
            failure = error.code(), "a service that this one needs did not answer: try again"
        case Exception():
            log.error("%s failed", method, exc_info=error)
            failure = grpc.StatusCode.INTERNAL, _HIDDEN
        case _:
            return None
    _done(method, failure[0].name, began)
    return failure


def _done(method: str, code: str, began: float) -> None:
    if log.isEnabledFor(logging.DEBUG):
        took = (time.perf_counter() - began) * 1000
        log.debug("%s %s in %.1f ms", method, code, took)
