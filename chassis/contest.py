"""One lock as those see it who want it: who holds it, who came before us, and when it is our turn.

What is known of it comes from two Watches: of the lock, and of those who wait for it. The order of
waiting is a courtesy, not a rule: whoever came k-th lets the ones before it k steps of time, so
nobody is overtaken for ever, and one that died while it waited holds up the others by a step.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message

from chassis.errors import LockTakenError

log = logging.getLogger(__name__)

CALL = 5.0
"""Seconds for one call to Blueprint."""

FAREWELL = 1.0
"""Seconds for a call that only tidies up: what it would remove ends by itself, too."""

_STEP = 0.2  # seconds that each of those before us gets; a take takes a few milliseconds
_MOST_STEPS = 20
_LATE = 1.0  # seconds after its end at which the engine has removed a lock at the latest
_UNHEARD = 30.0  # the TTL of a lock whose value says none
_WAITER_TTL = 60.0  # seconds for which a place in the order is kept when nothing is heard
_WAITER_BEAT = 20.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LOCK, _WAITERS = "lock", "waiters"


@dataclass(frozen=True, slots=True)
class Want:
    """A wish for a lock. `ttl` in seconds; `attempt` is an id that nobody else has."""

    name: str
    ttl: float
    holder: str
    host: str
    attempt: str = field(default_factory=lambda: uuid.uuid4().hex)

    def lock(self, token: int = 0) -> models.Lock:
        """The value that takes the lock, as of now."""
        lock = models.Lock(holder=self.holder, host=self.host, token=token, attempt=self.attempt)
        lock.ttl.FromNanoseconds(round(self.ttl * 1e9))
        lock.acquired.GetCurrentTime()
        return lock


@dataclass(frozen=True, slots=True)
class Taken:
    """The lock is ours, at `revision`, by a write that was sent at `sent` on the loop's clock."""

    lock: models.Lock
    revision: int
    sent: float


def patience(now: float, *, ends: float | None, free_since: float, ahead: int) -> float:
    """Seconds that a waiter lets pass before it tries. `ends`: when the lock that somebody holds
    runs out if we hear no more of it; None when it is free, since `free_since`, with so many
    waiters `ahead` of us."""
    if ends is not None:
        return max(ends + _LATE - now, 0)
    return max(free_since + min(ahead, _MOST_STEPS) * _STEP - now, 0)


class Contest:
    """Takes part for `want` until it has won, or is left. Without `patient` a lock that another
    holds is an answer, and nobody is waited for."""

    def __init__(
        self, stub: rpc.KeyValueServiceAsyncStub, want: Want, *, patient: bool = True
    ) -> None:
        self.holder: models.Lock | None = None
        """Who holds it, as far as we have heard."""
        self._stub = stub
        self._want = want
        self._patient = patient
        self._loop = asyncio.get_running_loop()
        self._revision = 0
        self._ends = self._free_since = self._not_before = self._seat_due = 0.0
        self._place = 0
        self._queue: dict[str, int] = {}
        self._synced: set[str] = set()
        self._changed = asyncio.Event()
        self._written = False  # whether a write of ours may have happened

    async def win(self) -> Taken:
        """Return once the lock is ours; waits out losses of Blueprint."""
        name = self._want.name
        watches = [
            asyncio.create_task(self._follow(_LOCK, models.Lock(), name, self._heard)),
            asyncio.create_task(
                self._follow(_WAITERS, models.LockWaiter(), f"{name}/", self._heard_waiter)
            ),
        ]
        for watch in watches:
            watch.add_done_callback(lambda _: self._changed.set())
        try:
            while True:
                self._changed.clear()
                for watch in watches:
                    if watch.done():
                        watch.result()  # it ends by a bug only, which must not go unseen
                if self._synced >= {_LOCK, _WAITERS} and (taken := await self._advance()):
                    return taken
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._rest()):
                        await self._changed.wait()
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.wait(watches)

    async def leave(self, *, won: bool) -> None:
        """Give up the place in the order; and what we may have taken without knowing it."""
        if self._seat_due:
            await self._delete(f"{self._want.name}/{self._want.attempt}", models.LockWaiter())
        if self._written and not won:
            key, value = self._want.name, packed(models.Lock())
            with contextlib.suppress(grpc.aio.AioRpcError):
                found = await self._stub.Get(pb.GetRequest(key=key, value=value), timeout=FAREWELL)
                if read_lock(found.value).attempt == self._want.attempt:
                    await self._delete(key, models.Lock(), found.revision)

    async def _advance(self) -> Taken | None:
        """Do what it is time for, by what is known."""
        ours = self._ours()
        if self.holder is not None and not ours and not self._patient:
            raise LockTakenError(f"lock {self._want.name} is {held_by(self.holder)}")
        now = self._loop.time()
        if now >= self._not_before and (ours or self._patience(now) <= 0):
            return await self._try(self._revision if ours else 0)
        if self.holder is not None and not ours and now >= self._seat_due:
            self._seat_due = now + _WAITER_BEAT  # first: to be cleaned up whatever becomes of it
            await self._sit_down()
        return None

    def _patience(self, now: float) -> float:
        ahead = self._ahead() if self._patient else 0
        ends = None if self.holder is None else self._ends
        return patience(now, ends=ends, free_since=self._free_since, ahead=ahead)

    def _ahead(self) -> int:
        """How many came before us: all, as long as we have no place."""
        return sum(not self._place or place < self._place for place in self._queue.values())

    def _rest(self) -> float | None:
        """Seconds until there may be something to do, if nothing is heard before."""
        if not self._synced >= {_LOCK, _WAITERS}:
            return None
        now = self._loop.time()
        if self._ours():
            return max(self._not_before - now, 0)
        rest = max(self._patience(now), self._not_before - now, 0)
        return rest if self.holder is None else min(rest, self._seat_due - now)

    def _ours(self) -> bool:
        """Whether a write of ours that was not answered is seen to have taken it."""
        return self.holder is not None and self.holder.attempt == self._want.attempt

    async def _try(self, expected: int) -> Taken | None:
        """Take it: when it is free (`expected` is 0), or again when a write of ours that was not
        answered has taken it, for we do not know since when."""
        sent = self._loop.time()
        lock = self._want.lock(token=expected)
        written, self._written = self._written, True
        try:
            answer = await self._stub.Set(
                set_request(self._want.name, lock, self._want.ttl, expected), timeout=CALL
            )
        except grpc.aio.AioRpcError as error:
            # Whoever was first, the watch will tell; and of our own write, if it did happen.
            aborted = error.code() is grpc.StatusCode.ABORTED
            self._written = written or not aborted
            self._not_before = self._loop.time() + (_LATE if aborted else _FIRST_PAUSE)
            return None
        lock.token = expected or answer.revision
        return Taken(lock, answer.revision, sent)

    async def _sit_down(self) -> None:
        """Take a place in the order, or say that we are still there."""
        waiter = models.LockWaiter(
            holder=self._want.holder,
            host=self._want.host,
            place=self._place,
            attempt=self._want.attempt,
        )
        waiter.since.GetCurrentTime()
        request = set_request(f"{self._want.name}/{self._want.attempt}", waiter, _WAITER_TTL, None)
        with contextlib.suppress(grpc.aio.AioRpcError):  # then we are as one who has just come
            answer = await self._stub.Set(request, timeout=CALL)
            self._place = self._place or answer.revision

    async def _delete(self, key: str, kind: Message, expected: int | None = None) -> None:
        request = pb.DeleteRequest(key=key, value=packed(kind), expected_revision=expected)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self._stub.Delete(request, timeout=FAREWELL)

    async def _follow(
        self, what: str, kind: Message, prefix: str, heard: Callable[[pb.WatchEvent], None]
    ) -> None:
        pause, said = _FIRST_PAUSE, ""
        request = pb.WatchRequest(value=packed(kind), prefix=prefix)
        while True:
            why = "Blueprint ended the stream"
            try:
                async for response in self._stub.Watch(request):
                    for event in response.events:
                        if event.kind == pb.WatchEvent.KIND_SYNCED:
                            self._synced.add(what)
                            self._free_since = self._loop.time()  # if it is; since when, who knows
                            pause, said = _FIRST_PAUSE, ""
                        else:
                            heard(event)
                    self._changed.set()
            except grpc.aio.AioRpcError as error:
                why = f"{error.code().name}: {error.details()}"
            self._forget(what)
            if why != said:  # once, not at every attempt
                log.info("lock %s cannot be followed: %s", self._want.name, why)
                said = why
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _forget(self, what: str) -> None:
        """The next stream begins with all that there is."""
        self._synced.discard(what)
        if what == _LOCK:
            self.holder = None
        else:
            self._queue.clear()

    def _heard(self, event: pb.WatchEvent) -> None:
        if event.key != self._want.name:
            return
        now = self._loop.time()
        self._not_before = 0
        if event.kind == pb.WatchEvent.KIND_PUT:
            self.holder, self._revision = read_lock(event.value), event.revision
            self._ends = now + (self.holder.ttl.ToNanoseconds() / 1e9 or _UNHEARD)
        else:
            self.holder, self._free_since = None, now

    def _heard_waiter(self, event: pb.WatchEvent) -> None:
        attempt = event.key.removeprefix(f"{self._want.name}/")
        if attempt == self._want.attempt or "/" in attempt:  # of another lock, with a longer name
            return
        if event.kind == pb.WatchEvent.KIND_PUT:
            with contextlib.suppress(DecodeError):
                waiter = models.LockWaiter.FromString(event.value.value)
                self._queue[attempt] = waiter.place or event.revision
        else:
            self._queue.pop(attempt, None)


def held_by(lock: models.Lock) -> str:
    """What to tell of a holder."""
    since = lock.acquired.ToDatetime().strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"held by {lock.holder or 'somebody'} on {lock.host or '?'} since {since}"


def read_lock(value: AnyMessage) -> models.Lock:
    """The lock in an entry; one that cannot be read is somebody's all the same."""
    try:
        return models.Lock.FromString(value.value)
    except DecodeError:
        return models.Lock()


def set_request(key: str, value: Message, ttl: float, expected: int | None) -> pb.SetRequest:
    """A write that ends after `ttl` seconds, under the condition `expected`."""
    request = pb.SetRequest(key=key, value=packed(value), expected_revision=expected)
    request.ttl.FromNanoseconds(round(ttl * 1e9))
    return request


def packed(message: Message) -> AnyMessage:
    """The message as an Any, which also names its type."""
    value = AnyMessage()
    value.Pack(message)
    return value
