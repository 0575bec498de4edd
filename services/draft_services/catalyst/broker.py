"""The broker of one Catalyst process: one way into the log, one feed out of it, many consumers."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chassis.figures import Figure
from draft_services.catalyst import events
from draft_services.catalyst.committer import Committer, Outcome
from draft_services.catalyst.errors import CatalystError, OutOfRange, Unavailable
from draft_services.catalyst.events import Event
from draft_services.catalyst.journal import Journal
from draft_services.catalyst.subscription import Subscription
from draft_services.catalyst.template import Template
from draft_services.catalyst.window import Window

# A few seconds of events at full speed; a consumer that is further behind reads from the engine.
WINDOW_EVENTS = 16 * 1024
WINDOW_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class New:
    """What is stored from now on."""


@dataclass(frozen=True, slots=True)
class All:
    """Everything that is kept."""


@dataclass(frozen=True, slots=True)
class AtSequence:
    """The event of this sequence and everything behind it."""

    sequence: int


@dataclass(frozen=True, slots=True)
class AtTime:
    """What was stored at or after this moment, in nanoseconds since 1970."""

    time_ns: int


Start = New | All | AtSequence | AtTime


class Broker:
    """Takes events in and hands them out, while `run` is running."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._committer = Committer(journal.append)
        self._window: Window | None = None
        self._closed = asyncio.Event()
        self._subscriptions: set[Subscription] = set()
        self._delivered = 0  # to consumers that have gone
        self._last = 0  # the newest sequence that is known

    async def run(self, live: Callable[[], None]) -> None:
        """Moves events until cancelled; calls `live` once producers and consumers are served."""
        last = (await self._journal.bounds()).last
        window = Window(last + 1, max_events=WINDOW_EVENTS, max_bytes=WINDOW_BYTES)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._committer.run())
            async for stored in self._journal.follow(last):
                window.append(stored)
                if self._window is None:
                    self._window = window
                    live()

    def close(self) -> None:
        """Sends everyone away: to another Catalyst, or to this one when it is back."""
        self._closed.set()
        if self._window is not None:
            self._window.close()

    async def closed(self) -> None:
        """Waits for `close`."""
        await self._closed.wait()

    async def publish(self, event: Event) -> asyncio.Future[Outcome]:
        """Puts an event behind all that came before; the future tells what became of it."""
        self._serving()
        try:
            events.check(event)
        except CatalystError as error:
            refused: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            refused.set_result(error)
            return refused
        return await self._committer.submit(event)

    async def subscribe(self, template: Template, start: Start) -> Subscription:
        """Begins a consumer's reading. When this returns, its place in the log is fixed."""
        window = self._serving()
        position = await _position(self._journal, start)
        exact = isinstance(start, New | AtSequence)
        subscription = Subscription(window, self._journal, template, position, exact=exact)
        self._subscriptions.add(subscription)
        subscription.on_close = self._forget
        return subscription

    def _forget(self, subscription: Subscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.discard(subscription)
            self._delivered += subscription.delivered

    def figures(self) -> Iterator[Figure]:
        """What there is to tell Prometheus."""
        stored, window = self._committer, self._window
        arrived = window.next - 1 if window else 0
        yield Figure(
            "draft_catalyst_events_produced_total",
            "Events that this node has had stored.",
            stored.stored,
            kind="counter",
        )
        yield Figure(
            "draft_catalyst_events_delivered_total",
            "Events that this node has handed to consumers, once for each of them.",
            self._delivered + sum(each.delivered for each in self._subscriptions),
            kind="counter",
        )
        yield Figure(
            "draft_catalyst_commit_batch_size", "Events that were stored together.", stored.batches
        )
        yield Figure("draft_catalyst_consumers", "Open consumers.", len(self._subscriptions))
        yield Figure("draft_catalyst_last_sequence", "The newest event that has arrived.", arrived)
        yield Figure(
            "draft_catalyst_lag",
            "Events that the engine has and this node has not read.",
            max(self._last - arrived, 0),
        )
        yield Figure(
            "draft_catalyst_consumer_lag",
            "Events between the newest one and where the slowest consumer reads.",
            max((arrived + 1 - each.position for each in self._subscriptions), default=0),
        )

    async def current(self) -> None:
        """Returns once everything that is stored by now can be handed out."""
        window = self._serving()
        last = self._last = (await self._journal.bounds()).last
        while window.next <= last:
            await window.changed()

    @property
    def why_not(self) -> str:
        """Why nothing is stored although the engine answers; "" as far as it is."""
        return self._journal.why_not

    def _serving(self) -> Window:
        if self._window is None or self._closed.is_set():
            raise Unavailable("this Catalyst is not reading the event log now: try again")
        return self._window


async def _position(journal: Journal, start: Start) -> int:
    match start:
        case All():
            return (await journal.bounds()).first
        case AtTime(time_ns):
            return await journal.find(time_ns)
        case New():
            return (await journal.bounds()).last + 1
        case AtSequence(sequence):
            first, last = await journal.bounds()
            if not first <= sequence <= last + 1:
                raise OutOfRange(
                    f"start.sequence: {sequence} is outside of the log, which keeps {first} to "
                    f"{last}: start from all, or from the sequence after the last one seen"
                )
            return sequence
