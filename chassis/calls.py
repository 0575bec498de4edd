"""Calls to a service by name: what a generated stub takes for a channel."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from typing import Any

import grpc

from chassis.discovery import Instances

TIMEOUT = 30.0
"""Seconds for a call with one answer that was given no timeout, and for any to find an instance."""

Start = Callable[[grpc.aio.Channel, float | None], Any]


class ServiceChannel:
    """Looks like a channel to a generated stub; behind it are the instances of one service, in
    turn. A call made before there is one waits for it, within its own timeout."""

    def __init__(self, instances: Instances, timeout: float = TIMEOUT) -> None:
        self._instances = instances
        self._timeout = timeout
        self.unary_unary = functools.partial(self._callable, "unary_unary")
        self.unary_stream = functools.partial(self._callable, "unary_stream")
        self.stream_unary = functools.partial(self._callable, "stream_unary")
        self.stream_stream = functools.partial(self._callable, "stream_stream")

    def _callable(self, kind: str, method: str, *codecs: Any, **more: Any) -> Callable[..., Any]:
        single = kind.endswith("_unary")

        def call(
            *request: Any,
            timeout: float | None = None,
            wait_for_ready: bool | None = None,
            **options: Any,
        ) -> Any:
            def start(channel: grpc.aio.Channel, left: float | None) -> Any:
                options.update(timeout=left, wait_for_ready=wait_for_ready)
                return getattr(channel, kind)(method, *codecs, **more)(*request, **options)

            if timeout is None and single:
                timeout = self._timeout
            if channel := self._instances.connected():
                return start(channel, timeout)
            return _Later(self._begin(start, timeout, wait_for_ready))

        return call

    async def _begin(self, start: Start, timeout: float | None, wait: bool | None) -> Any:
        loop = asyncio.get_running_loop()
        began = loop.time()
        patience = self._timeout if timeout is None else timeout
        if wait is False and not self._instances.known:
            patience = 0
        try:
            async with asyncio.timeout(patience):
                channel = await self._instances.any(patient=bool(wait))
        except TimeoutError:
            nothing = grpc.aio.Metadata()
            name = self._instances.service
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE,
                nothing,
                nothing,
                f'no instance of service "{name}" was running, healthy and reachable'
                f" within {patience:g} s",
            ) from None
        # gRPC takes 0 for a deadline that has passed.
        left = timeout if timeout is None else max(timeout - (loop.time() - began), 0)
        return start(channel, left)


class _Later:
    """A call that begins once there is an instance, with the face of the call that it becomes."""

    def __init__(self, begin: Coroutine[Any, Any, Any]) -> None:
        self._begun = asyncio.ensure_future(begin)
        # Whoever drops a call does not want to hear that it never began.
        self._begun.add_done_callback(lambda task: task.cancelled() or task.exception())

    def __await__(self) -> Generator[Any, None, Any]:
        return self._answer().__await__()

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for answer in await self._begun:
            yield answer

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        if name not in _FACE:
            raise AttributeError(name)

        async def ask(*arguments: Any) -> Any:
            return await getattr(await self._begun, name)(*arguments)

        return ask

    def cancel(self) -> bool:
        if self._begun.cancel():
            return True
        begun = not self._begun.cancelled() and self._begun.exception() is None
        return begun and bool(self._begun.result().cancel())

    async def _answer(self) -> Any:
        return await (await self._begun)


# Of grpc.aio.Call and its kinds, all that is awaited.
_FACE = frozenset(
    {
        *("read", "write", "done_writing", "wait_for_connection"),
        *("code", "details", "initial_metadata", "trailing_metadata"),
    }
)
