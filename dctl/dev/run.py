"""Run services from their code until told to end; start each anew when its code changes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dctl.dev import code
from dctl.dev.child import Child
from dctl.dev.lend import Lent
from dctl.errors import DctlError
from dctl.hosts.base import Reader

Tell = Callable[[str, str], None]
"""Is told a line of a service, or ("", ...) a line of our own."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK = 0.1  # seconds between two questions whether it is well
_READY = 60.0  # seconds after which nobody asks any more whether it got well


@dataclass(slots=True)
class Running:
    """What runs. `again` looks what a service is told now, and gives what has it told that; `argv`
    is its command line."""

    readers: Mapping[str, Reader]
    again: Callable[[str], Callable[[], Lent]]
    argv: Callable[[Lent], Sequence[str]]
    tell: Tell
    patient: bool = False
    children: dict[str, Child] = field(default_factory=dict)
    well: dict[str, asyncio.Event] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start_all(self, lent: Sequence[Lent]) -> None:
        """Start each once those of them that it needs are well."""
        self.well = {one.service: asyncio.Event() for one in lent}
        for one in lent:
            self._do(self._start_after(one))

    async def _start_after(self, one: Lent) -> None:
        for need in one.needs:
            if need in self.well and not self.well[need].is_set():
                self.tell("", f"{one.service} waits for {need}")
                await self.well[need].wait()
        try:
            await self.start(one)
        except DctlError as error:
            self.tell("", f"error: {error.message}")

    async def start(self, lent: Lent) -> None:
        """Start a service, and tell when it is well, and when it has ended."""
        service = lent.service
        child = await Child.start(lent, self.argv(lent), lambda line: self.tell(service, line))
        self.children[service] = child
        self._do(self._attend(service, child))
        if lent.resource.check:
            self._do(self._await_well(service, child))
        else:
            self.well[service].set()

    async def reload(self, service: str, folders: Sequence[Path], *, told: bool) -> None:
        """Start it anew, unless its code does not compile; `told`: what it is told may be another
        by now."""
        if wrong := await asyncio.to_thread(code.problems, folders):
            for problem in wrong:
                for line in problem.splitlines():
                    self.tell("", line)
            self.tell("", f"{service} goes on as it was: its code does not compile")
            return
        began = time.monotonic()
        child = self.children.get(service)
        if child is None:
            return  # it is not started yet
        anew = await asyncio.to_thread(self.again, service) if told else None
        await child.end()
        await self.start(await asyncio.to_thread(anew) if anew else child.lent)
        took = time.monotonic() - began
        self.tell("", f"{service} was changed: started anew ({took:.1f} s)")

    async def end(self) -> None:
        """End all of them, side by side."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*(child.end() for child in self.children.values()))

    def hurry(self) -> None:
        """Nobody waits for them any more."""
        for child in self.children.values():
            child.hurry()

    def _do(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _attend(self, service: str, child: Child) -> None:
        await asyncio.wait([child.ended])
        if not child.asked:
            await asyncio.sleep(_LOOK)  # its last words come first
            self.tell("", f"{service}: {child.how()}; it is started again when its code changes")

    async def _await_well(self, service: str, child: Child) -> None:
        check = child.lent.resource.check
        assert check is not None
        reader = self.readers[child.lent.resource.host]
        began = time.monotonic()
        where = ", ".join(map(str, child.lent.resource.ports.values()))
        while not child.ended.done():
            if (await asyncio.to_thread(reader.probe, check)).ok:
                if not child.ended.done():
                    self.well[service].set()
                    took = time.monotonic() - began
                    self.tell("", f"{service} is ready at {where} ({took:.1f} s)")
                return
            if time.monotonic() - began > _READY and not self.patient:
                self.tell("", f"{service} is not well after {_READY:.0f} s; it is left running")
                return
            await asyncio.sleep(_LOOK)


async def attend(
    running: Running, lent: Sequence[Lent], folders: Mapping[str, Sequence[Path]]
) -> None:
    """Run them until a signal; `folders` are those whose changes concern each service."""
    from watchfiles import awatch

    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    stop = asyncio.Event()

    def signalled() -> None:
        if told.is_set():  # again: nobody wants to wait
            running.hurry()
        told.set()
        stop.set()

    for number in _ENDING:
        loop.add_signal_handler(number, signalled)
    try:
        await running.start_all(lent)
        watched = list(dict.fromkeys(f for own in folders.values() for f in own if f.is_dir()))
        async for changes in awatch(*watched, stop_event=stop, watch_filter=None, recursive=True):
            changed = [path for _, path in changes]
            concerned = code.concerned(changed, folders)
            for service in [name for name in folders if name in concerned]:
                anew = not code.only_code(changed)
                await _or_told(
                    running.reload(service, folders[service], told=anew), told, running.tell
                )
            if told.is_set():
                break
    finally:
        if not told.is_set():
            told.set()
        await running.end()
        for number in _ENDING:
            with contextlib.suppress(ValueError):
                loop.remove_signal_handler(number)


async def _or_told(work: object, told: asyncio.Event, tell: Tell) -> None:
    """A reload that fails is told; one during which we are to end is not waited for."""
    reload: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
    end = asyncio.create_task(told.wait())
    await asyncio.wait([reload, end], return_when=asyncio.FIRST_COMPLETED)
    end.cancel()
    if not reload.done():
        reload.cancel()
    try:
        await reload
    except DctlError as error:
        tell("", f"error: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    except asyncio.CancelledError:
        pass


def folders_of(lent: Sequence[Lent], api: Path | None) -> dict[str, list[Path]]:
    """The folders whose changes concern each service: its own, and what the protos give."""
    shared = [api.absolute()] if api and api.is_dir() else []
    return {one.service: [one.folder.resolve(), *shared] for one in lent}
