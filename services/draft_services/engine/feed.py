"""Every message of a stream, once and in order.

A feed checks the consumer's own numbering, which has no holes. On a gap, a missed heartbeat or a
reconnect it opens a new consumer behind the last message that it has seen, so the reader notices
nothing but `Batch.opened`. Flow control is answered only when the reader takes what came before, so
a slow reader slows the server down instead of overflowing a queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from draft_services.engine import restoring, streams
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, NotFound, Replaced, Unavailable, translated
from draft_services.engine.nodes import Nodes, Told

logger = logging.getLogger(__name__)

HEARTBEAT = 5.0  # the server's sign of life on an idle feed
_INACTIVE = 30.0  # the server forgets a consumer that nobody hears for so long
_BATCH = 512
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Start:
    """Where a feed begins: `Start.all()`, `.new()`, `.latest()`, `.after(n)`, `.at(time_ns)`."""

    policy: str
    sequence: int = 0
    time_ns: int = 0

    @classmethod
    def all(cls) -> Self:
        """With the first message that is kept."""
        return cls("all")

    @classmethod
    def new(cls) -> Self:
        """With what comes from now on."""
        return cls("new")

    @classmethod
    def latest(cls) -> Self:
        """With the last message of each subject, then everything new."""
        return cls("last_per_subject")

    @classmethod
    def after(cls, sequence: int) -> Self:
        """With the message that follows `sequence`."""
        return cls("by_start_sequence", sequence=sequence)

    @classmethod
    def at(cls, time_ns: int) -> Self:
        """With the first message stored at or after a time, in nanoseconds since 1970."""
        return cls("by_start_time", time_ns=time_ns)

    def consumer(self) -> dict[str, Any]:
        """The part of a consumer's configuration that says so."""
        if self.policy == "by_start_sequence":
            return {"deliver_policy": self.policy, "opt_start_seq": self.sequence + 1}
        if self.policy == "by_start_time":
            whole, nanos = divmod(self.time_ns, _SECOND)
            moment = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            return {"deliver_policy": self.policy, "opt_start_time": f"{moment}.{nanos:09}Z"}
        return {"deliver_policy": self.policy}


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream. `time_ns` is the server's, since 1970."""

    sequence: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    time_ns: int


def received(raw: Msg) -> tuple[int, int, Message]:
    """(the consumer's own number, how many wait behind it, the message) of what it delivered."""
    # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<ns>.<pending>,
    # with two more tokens in front of the stream where the account has a domain.
    parts = raw.reply.split(".")
    at = 4 if len(parts) <= 9 else 6
    sequence, time_ns = int(parts[at + 1]), int(parts[at + 3])
    message = Message(sequence, raw.subject, raw.data, raw.headers or {}, time_ns)
    return int(parts[at + 2]), int(parts[at + 4]), message


@dataclass(slots=True)
class Batch:
    """What the feed has to say at once; the messages may be none."""

    messages: list[Message] = field(default_factory=list)
    revision: int = 0
    """Everything up to this sequence has been seen, as far as it is kept."""
    caught_up: bool = False
    """Nothing was waiting behind the last message."""
    opened: bool = False
    """The first batch after the feed was opened or opened anew."""


class Feed:
    """An asynchronous iterator of `Batch`; use it with ``async with``.

    Losses of the connection are waited out, and so is the restoring of a backup. It raises only
    when the stream is gone or is another one than before (`Replaced`). `generation` is the one that
    is meant, if that is known already; `nodes` tell who leads the stream.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        *,
        start: Start,
        subject: str = ">",
        heartbeat: float = HEARTBEAT,
        generation: str | None = None,
        nodes: Nodes | None = None,
    ) -> None:
        self._connection = connection
        self._nodes = nodes or Nodes(connection)
        self._stream = stream
        self._start = start
        self._subject = subject
        self._heartbeat = heartbeat
        self._generation = generation
        self._revision = 0
        self._seen_any = False
        self._told = Told({})  # what the leader said when the consumer was made
        self._target = 0  # the stream's end then
        self._node = ""  # the one that the consumer is on; "" where there is no other
        self._delivered = 0  # the consumer's own number of the last message
        self._waiting: deque[Msg] = deque()
        self._changed = asyncio.Event()
        self._reopen = True
        self._opened = False
        self._subscription: Subscription | None = None
        self._deletion: Subscription | None = None
        self._consumer: str | None = None
        self._forget = connection.on_reconnect(self.reopen)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> AsyncIterator[Batch]:
        return self

    async def __anext__(self) -> Batch:
        """The next batch; waits for one."""
        while True:
            if self._reopen:
                pending = await self._open_patiently()
                if not pending and await self._has_all(self._revision):
                    return self._batch([], caught_up=True)
                if self._reopen:  # once more, and not at once
                    await asyncio.sleep(_FIRST_WAIT)
            elif batch := await self._drain():
                return batch
            if not self._waiting and not self._reopen:
                self._changed.clear()
                try:
                    # Not wait_for: in Python 3.11 it swallows a cancellation that comes together
                    # with the event.
                    async with asyncio.timeout(self._heartbeat * 2.5):
                        await self._changed.wait()
                except TimeoutError:
                    logger.info("feed of %s heard nothing for too long; opening anew", self._stream)
                    self._reopen = True

    def reopen(self) -> None:
        """Read on from the last message through a new consumer."""
        self._reopen = True
        self._changed.set()

    async def close(self) -> None:
        """Stop; the server's side goes too."""
        self._forget()
        await self._leave()
        if self._deletion is not None:
            with contextlib.suppress(EngineError), translated("unsubscribe"):
                await self._deletion.unsubscribe()

    def _batch(self, messages: list[Message], *, caught_up: bool) -> Batch:
        if messages:
            self._revision = messages[-1].sequence
            self._seen_any = True
        if caught_up:
            self._revision = max(self._revision, self._target)
            self._seen_any = True
        opened, self._opened = self._opened, False
        return Batch(messages, self._revision, caught_up, opened)

    async def _drain(self) -> Batch | None:
        """Take what has arrived, up to a batch."""
        messages: list[Message] = []
        pending = -1
        while self._waiting and len(messages) < _BATCH:
            raw = self._waiting.popleft()
            headers = raw.headers or {}
            if headers.get("Status") == "100":
                if not await self._control(raw, headers):
                    break
                continue
            delivered, left, message = received(raw)
            if delivered != self._delivered + 1:
                logger.info("feed of %s has a gap; opening anew", self._stream)
                self._reopen = True
                break
            self._delivered = delivered
            pending = left
            messages.append(message)
        if not messages:
            return None
        caught_up = pending == 0 and await self._has_all(messages[-1].sequence)
        return self._batch(messages, caught_up=caught_up)

    async def _has_all(self, reached: int) -> bool:
        """Whether nothing is left up to the stream's end, as it was when the consumer was made.

        The numbers after `reached` may be of messages that are gone. A consumer may be on a node
        that is behind the stream's leader, and knows only what that node has.
        """
        if not self._seen_any:
            if self._start.policy in ("new", "by_start_time"):
                return True
            reached = max(reached, self._start.sequence)
        if reached >= self._target:
            return True
        try:
            if self._told.applied:
                return await self._nothing_waits()
            asked = {"seq": reached + 1, "next_by_subj": self._subject}
            found = await self._connection.api(f"STREAM.MSG.GET.{self._stream}", asked)
        except NotFound:
            return True
        except Unavailable:
            self._reopen = True  # nothing else would bring us to ask again
            return False
        return int(found["message"]["seq"]) > self._target

    async def _nothing_waits(self) -> bool:
        """Whether the consumer has sent all, and its node has all that the leader had."""
        if not await self._nodes.has(self._node, self._told):
            self._reopen = True  # on a node that does better
            return False
        try:
            consumer = await self._connection.api(f"CONSUMER.INFO.{self._stream}.{self._consumer}")
        except NotFound:
            self._reopen = True  # it went with its node
            return False
        sent = int(consumer["delivered"]["consumer_seq"])
        return not consumer["num_pending"] and sent == self._delivered

    async def _control(self, raw: Msg, headers: Mapping[str, str]) -> bool:
        """Answer flow control; False when a heartbeat shows that messages were lost."""
        answer = raw.reply or headers.get("Nats-Consumer-Stalled")
        if answer:
            with contextlib.suppress(Unavailable):  # then a reconnect opens the feed anew
                await self._connection.publish(answer, doing="answer flow control")
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != self._delivered:
            logger.info("feed of %s has lost messages; opening anew", self._stream)
            self._reopen = True
            return False
        return True

    async def _open_patiently(self) -> int:
        wait = _FIRST_WAIT
        while True:
            try:
                return await self._open()
            except Unavailable as error:
                logger.debug("feed of %s: %s", self._stream, error)
            except (NotFound, Replaced):
                if not await self._being_restored():
                    raise
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _being_restored(self) -> bool:
        """Whether to wait: only then is it known what is there to be read."""
        try:
            return await restoring.under_way(self._connection)
        except Unavailable:
            return True

    async def _open(self) -> int:
        """Make a consumer behind what has been seen; returns how many messages wait."""
        await self._leave()
        await self._listen_for_deletion()
        told = await self._nodes.information(self._stream)
        info = told.information
        last, generation = info["state"]["last_seq"], streams.generation(info)
        if last < self._revision:
            raise Replaced(
                f"stream {self._stream} ends at {last}, but {self._revision} was read from it "
                "before: the engine's data was lost or replaced; restart this process"
            )
        if self._generation not in (None, generation):
            raise Replaced(
                f"stream {self._stream} was made anew: a backup was restored, or the engine's data "
                "was lost; restart this process"
            )
        self._generation = generation
        start = Start.after(self._revision) if self._seen_any else self._start
        inbox = self._connection.inbox()
        waiting = self._waiting = deque()
        self._delivered = 0
        self._reopen = False

        async def arrived(message: Msg) -> None:
            waiting.append(message)  # of this consumer only: a late one of the last is not ours
            self._changed.set()

        self._subscription = await self._connection.subscribe(inbox, arrived)
        config: dict[str, Any] = {
            "deliver_subject": inbox,
            "ack_policy": "none",
            "max_deliver": 1,
            "replay_policy": "instant",
            "flow_control": True,
            "idle_heartbeat": int(self._heartbeat * _SECOND),
            "inactive_threshold": int(_INACTIVE * _SECOND),
            "mem_storage": True,
            "num_replicas": 1,
            "filter_subject": self._subject,
            **start.consumer(),
        }
        try:
            made = await self._connection.api(
                f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config}
            )
        except EngineError:
            self._reopen = True
            raise
        self._consumer = made["name"]
        self._node = made.get("cluster", {}).get("leader", "")
        self._told, self._target = told, last
        self._opened = True
        # What the consumer has delivered already by the time it answers is waiting too.
        return int(made.get("num_pending", 0)) + int(made["delivered"]["consumer_seq"])

    async def _listen_for_deletion(self) -> None:
        """Hear at once that the stream goes: a missing heartbeat tells it many seconds later."""
        if self._deletion is not None:
            return

        async def deleted(_: Msg) -> None:
            self.reopen()

        self._deletion = await self._connection.subscribe(
            f"$JS.EVENT.ADVISORY.STREAM.DELETED.{self._stream}", deleted
        )

    async def _leave(self) -> None:
        subscription, self._subscription = self._subscription, None
        consumer, self._consumer = self._consumer, None
        if subscription is not None:
            with contextlib.suppress(EngineError), translated("unsubscribe"):
                await subscription.unsubscribe()
        if consumer is not None:
            # Only courtesy: the server forgets it by itself.
            with contextlib.suppress(EngineError):
                await self._connection.publish(
                    f"$JS.API.CONSUMER.DELETE.{self._stream}.{consumer}", doing="leave a feed"
                )
