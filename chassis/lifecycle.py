"""Opened in order, closed in reverse. Every step of closing is bounded in time; one that fails is
logged, and the rest still closes. What runs beside it must not fail unseen."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from chassis.errors import ChassisError

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]

STOPPING = 2.0
"""Seconds that a task gets to end when it is asked to, and again when it is cancelled."""


class Closing:
    """What has to be closed, in the order in which it was opened."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, Step, float]] = []

    @property
    def bound(self) -> float:
        """Seconds that closing takes at most."""
        return sum(within for _, _, within in self._steps)

    def push(self, name: str, step: Step, *, within: float) -> None:
        """`step` closes what was just opened; it gets `within` seconds."""
        self._steps.append((name, step, within))

    async def close(self) -> None:
        """Close everything, last opened first."""
        while self._steps:
            name, step, within = self._steps.pop()
            try:
                async with asyncio.timeout(within):
                    await step()
            except TimeoutError:
                log.warning("%s did not end within %.1f s", name, within)
            except Exception:
                log.exception("%s failed to end", name)


class Background:
    """Tasks that run beside the server; the first that fails by itself is what `failed` raises."""

    def __init__(self) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def run(
        self,
        closing: Closing,
        work: Awaitable[object],
        what: str,
        *,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Run `work` until it is closed: asked by `stop`, then cancelled."""
        task = asyncio.create_task(_awaited(work))
        self.watch(task, what)

        async def end() -> None:
            if stop is not None:
                stop.set()
                await asyncio.wait([task], timeout=STOPPING)
            task.cancel()
            if not (await asyncio.wait([task], timeout=STOPPING))[0]:
                log.warning("%s did not end when it was cancelled", what)

        closing.push(what, end, within=2 * STOPPING + 1)

    def watch(self, task: asyncio.Task[Any], what: str) -> None:
        """Notice when `task` fails."""

        def report(task: asyncio.Task[Any]) -> None:
            error = None if task.cancelled() else task.exception()
            if error is None:
                return
            log.error("%s failed", what, exc_info=error)
            if not self.failed.done():
                self.failed.set_exception(ChassisError(f"{what} failed: {error}"))
                self.failed.exception()  # seen: there may be nobody who waits for it

        task.add_done_callback(report)


def named(call: object) -> str:
    """What to call a hook or a runner in the log."""
    return str(getattr(call, "__qualname__", None) or call)


async def _awaited(work: Awaitable[object]) -> None:
    """A cancellation that nobody asked for is a failure: the work would just be gone."""
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ChassisError("it was cancelled from inside") from None
