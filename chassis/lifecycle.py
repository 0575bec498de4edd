"""Opened in order, closed in reverse. Every step of closing is bounded in time; one that fails is
logged, and the rest still closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]


class Closing:
    """What has to be closed, in the order in which it was opened."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Step, float]] = []

    def push(self, name: str, step: Step, *, within: float) -> None:
        """`step` closes what was just opened; it gets `within` seconds."""
        self._steps.append((name, step, within))

    async def close(self) -> None:
        """Close everything, last opened first. Never raises."""
        while self._steps:
            name, step, within = self._steps.pop()
            try:
                async with asyncio.timeout(within):
                    await step()
            except TimeoutError:
                log.warning("%s did not end within %.1f s", name, within)
            except Exception:
                log.exception("%s failed to end", name)
