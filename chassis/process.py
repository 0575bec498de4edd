"""A process that serves until it is told to end, and then ends, whatever hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from chassis.lifecycle import STOPPING, Background, Closing

log = logging.getLogger(__name__)

_SLACK = 5.0  # seconds on top of all that closing may take

Open = Callable[[Closing], Coroutine[Any, Any, Background]]


def run(open_: Open) -> None:
    """Open, run until SIGTERM, SIGINT or a failure, close. Raises what failed."""
    deadline = _Deadline()
    try:
        asyncio.run(_main(open_, deadline))
    finally:
        deadline.cancel()


async def _main(open_: Open, deadline: _Deadline) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    asked = asyncio.create_task(stop.wait())
    closing = Closing()
    try:
        # A start may wait for others for ever; the signal ends it too.
        opening = asyncio.create_task(open_(closing))
        either: list[asyncio.Future[Any]] = [opening, asked]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.wait([opening], timeout=STOPPING)
            return
        failed = opening.result().failed
        either = [failed, asked]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        asked.cancel()
        deadline.set(closing.bound + _SLACK)
        await closing.close()
        deadline.set(_SLACK)  # for what the loop itself has to end


class _Deadline:
    """Ends the process from a thread: what blocks the loop, or does not let itself be cancelled,
    blocks every other way out."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def set(self, seconds: float) -> None:
        self.cancel()
        self._timer = threading.Timer(seconds, self._end, [seconds])
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end(self, seconds: float) -> None:
        log.critical("something still hangs after %.1f s; ending without it", seconds)
        os._exit(1)
