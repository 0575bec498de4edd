"""What every call passes, in one interceptor (three would cost twice as much a call): errors
become statuses, calls are counted and logged, and open streams end when the server does."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc

from chassis.errors import RpcError, said
from chassis.noting import Method

if TYPE_CHECKING:
    from chassis.guard import Guard, Refusal
    from chassis.metrics import Metrics
    from chassis.slow import SlowLog

log = logging.getLogger(__name__)

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a name for mypy; grpc has no such generic
Behavior = Callable[[Any, Any], Any]
_Failure = tuple[grpc.StatusCode, str]

_KINDS = {  # as grpc names a handler's field, and Prometheus its kind
    "unary_unary": "unary",
    "unary_stream": "server_stream",
    "stream_unary": "client_stream",
    "stream_stream": "bidi_stream",
}
_HIDDEN = "internal error; the service's log has it"
# What a call to another service failed with and a caller may see: trying again later is right.
_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each method once, when it is first called."""

    def __init__(
        self,
        slow: SlowLog | None = None,
        metrics: Metrics | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.guarded: tuple[str, ...] = ()
        """What methods begin with whose callers the guard has to know."""
        self._guard = guard
        self._slow = slow
        self._metrics = metrics
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
        handler = self._wrapped[method]
        if self._guard is not None and method.startswith(self.guarded):
            metadata = handler_call_details.invocation_metadata or ()
            if refusal := await self._guard.refusal(metadata):
                return _refusing(handler, refusal)
        return handler

    def end_streams(self) -> None:
        """End every open stream of answers; its caller is told to call again. A watch would
        otherwise keep a server that stops waiting for as long as it may."""
        for task in self._streams - self._dismissed:
            self._dismissed.add(task)
            task.cancel()

    def _wrap(self, handler: Handler, name: str) -> Handler:
        kind = next(kind for kind in _KINDS if getattr(handler, kind, None))
        behavior: Behavior = getattr(handler, kind)
        meter = self._metrics.meter(_KINDS[kind], name) if self._metrics else None
        slow = self._slow if kind == "unary_unary" else None  # a stream lasts as long as it may
        method = Method(name, behavior, meter, slow)
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

    def _stream(self, behavior: Behavior, method: Method) -> Behavior:
        """A coroutine even for a generator: so the generator is closed when its call ends, not
        when it is collected."""
        generates = inspect.isasyncgenfunction(behavior)

        @functools.wraps(behavior)
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            began = method.begin()
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
                method.end(began, context)
            except BaseException as error:
                if isinstance(error, asyncio.CancelledError) and task in self._dismissed:
                    task.uncancel()
                    method.end(began, context, "UNAVAILABLE")
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


def _refusing(handler: Handler, refusal: Refusal) -> Handler:
    """A handler of the same kind that only refuses."""
    kind = next(kind for kind in _KINDS if getattr(handler, kind, None))

    async def refuse(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(*refusal)

    make = getattr(grpc, f"{kind}_rpc_method_handler")
    made: Handler = make(
        refuse,
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made


def _single(behavior: Behavior, method: Method) -> Behavior:
    @functools.wraps(behavior)
    async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        began = method.begin()
        try:
            answer = await behavior(request, context)
        except BaseException as error:
            await _end(method, began, error, context, request)
            raise
        method.end(began, context, request=request)
        return answer

    return call


def _function(behavior: Behavior, method: Method) -> Behavior:
    """For a plain function, which gRPC runs in a thread."""

    @functools.wraps(behavior)
    def call(request: Any, context: Any) -> Any:
        began, context = method.begin(), _Remembering(context)
        try:
            answer = behavior(request, context)
        except BaseException as error:
            if failure := _failure(method, began, error, context, request):
                context.abort(*failure)
            raise
        method.end(began, context, request=request)
        return answer

    return call


def _generator(behavior: Behavior, method: Method) -> Behavior:
    @functools.wraps(behavior)
    def call(request: Any, context: Any) -> Iterator[Any]:
        began, context = method.begin(), _Remembering(context)
        try:
            yield from behavior(request, context)
        except BaseException as error:
            failure = _failure(method, began, error, context)
            if failure is None:
                raise
            # Not abort: from a generator in a thread, gRPC 1.85 now and then never ends the call.
            context.set_code(failure[0])
            context.set_details(failure[1])
            return
        method.end(began, context)

    return call


class _Remembering:
    """The context of a call in a thread, which does not tell the code that it was given."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context
        self._code: grpc.StatusCode | None = None

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code
        self._context.set_code(code)

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        self._code = code
        self._context.abort(code, details)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


async def _end(
    method: Method,
    began: float,
    error: BaseException,
    context: grpc.aio.ServicerContext[Any, Any],
    request: object = None,
) -> None:
    if failure := _failure(method, began, error, context, request):
        await context.abort(*failure)


def _failure(
    method: Method, began: float, error: BaseException, context: Any, request: object = None
) -> _Failure | None:
    """The status for what a servicer raised; None when the call has ended by itself. Nothing of
    an unexpected error reaches the caller: it may hold what is not theirs to see."""
    failure: _Failure | None = None
    match error:
        case RpcError():
            failure = error.code, said(error)
        case grpc.aio.AbortError():
            method.end(began, context, request=request)
            return None
        case asyncio.CancelledError() | GeneratorExit():
            method.end(began, context, "CANCELLED", request)
            return None
        case NotImplementedError():
            failure = grpc.StatusCode.UNIMPLEMENTED, f"{method.name} is not implemented here"
        case grpc.aio.AioRpcError() if error.code() in _PASSING:
            log.warning("%s: a call to another service failed: %s", method.name, error.details())
            failure = error.code(), "a service that this one needs did not answer: try again"
        case Exception():
            log.error("%s failed", method.name, exc_info=error)
            failure = grpc.StatusCode.INTERNAL, _HIDDEN
        case _:
            method.end(began, context, "UNKNOWN", request)
            return None
    method.end(began, context, failure[0].name, request)
    return failure
