"""A connection is opened in time, or not at all."""

from __future__ import annotations

import asyncio

import pytest
from draft_services.engine.connection import _within


async def stubborn(cancelled: list[int]) -> None:
    """It swallows a cancellation that comes at the wrong moment."""
    while len(cancelled) < 2:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(1)
    await asyncio.sleep(60)


async def test_work_that_swallows_a_cancellation_is_cancelled_again() -> None:
    cancelled: list[int] = []
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await _within(0.01, stubborn(cancelled))
    assert len(cancelled) == 2


async def test_what_the_work_fails_with_is_told() -> None:
    async def failing() -> None:
        raise ConnectionRefusedError("nobody there")

    with pytest.raises(ConnectionRefusedError, match="nobody"):
        await _within(10, failing())
