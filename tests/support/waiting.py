"""Wait for something to become true, with a deadline instead of a sleep."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_EVERY = 0.01


async def until(condition: Callable[[], T], *, within: float = 10.0) -> T:
    """The first true value of `condition`, looked at often; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {within} s: {condition}"
        await asyncio.sleep(_EVERY)
    return value


async def until_answered(ask: Callable[[], Awaitable[T]], *, within: float = 10.0) -> T:
    """The first true answer, asked for again and again; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (answer := await ask()):
        assert time.monotonic() < deadline, f"not true within {within} s: {ask}"
        await asyncio.sleep(_EVERY)
    return answer


def wait_until(condition: Callable[[], T], *, within: float = 10.0) -> T:
    """The same for a test without a loop."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not true within {within} s: {condition}"
        time.sleep(_EVERY)
    return value
