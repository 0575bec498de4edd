"""Catalyst's parts: opened in order, watched while they run, closed in reverse."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from ssl import SSLContext

from chassis.figures import Figure
from draft_services.catalyst.broker import Broker
from draft_services.catalyst.errors import StoresNothing, Unavailable
from draft_services.catalyst.journal import Journal
from draft_services.catalyst.rpc import Consumer, Producer
from draft_services.catalyst.settings import Settings
from draft_services.engine.accounts import login

logger = logging.getLogger(__name__)

_PROMPT = 2.0  # seconds in which a node that can serve has asked the engine and caught up
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 2.0


class Catalyst:
    """One Catalyst node; with `tls` it speaks to the engine."""

    def __init__(self, settings: Settings, *, tls: SSLContext | None = None) -> None:
        self._settings = settings
        self._journal = Journal(settings.nats, login(settings.engine, tls=tls), settings.epoch)
        self._broker = Broker(self._journal)
        self.servicers = (Producer(self._broker), Consumer(self._broker))
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Returns once the feed is live; waits for the engine to come."""
        live = asyncio.Event()
        self._running = asyncio.create_task(self._run(live.set))
        await self._or_failure(live.wait())

    async def watch(self, stop: asyncio.Event) -> None:
        """Returns at `stop`, having sent everyone away; raises what the broker failed with."""
        await self._or_failure(stop.wait())
        self._broker.close()

    def figures(self) -> Iterator[Figure]:
        """What there is to tell Prometheus."""
        return self._broker.figures()

    async def can_serve(self) -> None:
        """Returns if events can be stored and are handed out now; raises why not."""
        try:
            async with asyncio.timeout(_PROMPT):
                await self._broker.current()
        except TimeoutError:
            raise Unavailable(
                f"the engine at {self._settings.nats} does not answer within {_PROMPT:g} s, or its "
                "events do not arrive"
            ) from None
        if why := self._broker.why_not:
            raise StoresNothing(why)

    async def close(self) -> None:
        """Ends the broker, then the connection to the engine."""
        self._broker.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        await self._journal.close()

    async def _run(self, live: Callable[[], None]) -> None:
        await _patiently(self._journal.connect)
        await _patiently(self._open_journal)
        await self._broker.run(live)

    async def _open_journal(self) -> None:
        await self._journal.open(
            max_bytes=self._settings.max_store,
            max_age=self._settings.max_age,
            dedup_window=self._settings.dedup_window,
        )

    async def _or_failure(self, awaited: Awaitable[object]) -> None:
        """Waits, but no longer than the broker runs."""
        assert self._running is not None
        waiting = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait({waiting, self._running}, return_when=asyncio.FIRST_COMPLETED)
            if self._running.done():
                self._running.result()
        finally:
            waiting.cancel()


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Does a step, as often as it takes for the engine to come."""
    wait, said = _FIRST_WAIT, ""
    while True:
        try:
            return await step()
        except Unavailable as error:
            if str(error) != said:  # once, not at every attempt
                said = str(error)
                logger.warning("waiting for the engine: %s", error)
        await asyncio.sleep(wait)
        wait = min(wait * 2, _LONGEST_WAIT)
