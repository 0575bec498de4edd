"""One service as a process of ours: in a group of its own, on a leash, its lines told.

It is asked to end as its supervisor would ask it, so it drains; what is left of its group after
that is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence

from dctl import leash
from dctl.dev.lend import Lent
from dctl.errors import DctlError

Tell = Callable[[str], None]

_CHUNK = 1 << 16
_LONGEST = 1 << 16  # bytes of a line that are told as one
_AFTER = 2.0  # seconds that its last lines may take to come


class Child:
    """A running service. `ended` is done when it has ended, by itself or not."""

    def __init__(self, lent: Lent, process: asyncio.subprocess.Process, tell: Tell) -> None:
        self.lent = lent
        self.asked = False  # to end
        self._process = process
        self._lines = asyncio.create_task(_tell_lines(process, tell))
        self.ended = asyncio.create_task(process.wait())

    @classmethod
    async def start(cls, lent: Lent, argv: Sequence[str], tell: Tell) -> Child:
        """Start it as it was asked for, with `argv` as its command line."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-ISB", leash.__file__, str(os.getpid())),
                *argv,
                cwd=lent.folder,
                env=dict(lent.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                process_group=0,
            )
        except OSError as error:
            raise DctlError(f"{lent.service} cannot be started: {error}") from error
        return cls(lent, process, tell)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def end(self) -> None:
        """Ask it to end, and wait; kill what does not."""
        self.asked = True
        if not self.ended.done():
            stop = self.lent.resource.spec["stop"]
            self._send(getattr(signal, f"SIG{stop['signal']}"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(stop["timeout"]):
                    await asyncio.shield(self.ended)
        await self.kill()

    def hurry(self) -> None:
        """Kill all of its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def kill(self) -> None:
        """The same, and wait until it is gone."""
        self.hurry()
        await self.ended
        # What left the group may hold the pipe open.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AFTER):
                await self._lines

    def how(self) -> str:
        """How it ended."""
        code = self.ended.result()
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


async def _tell_lines(process: asyncio.subprocess.Process, tell: Tell) -> None:
    assert process.stdout is not None
    rest = b""
    while chunk := await process.stdout.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        for line in lines:
            tell(line.rstrip(b"\r").decode("utf-8", errors="replace"))
    if rest:
        tell(rest.decode("utf-8", errors="replace"))
