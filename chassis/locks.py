"""Locks: one at a time, in the whole cluster, with a token that only grows.

    async with locks.hold("deploy", ttl=30) as held:
        await store.write(page, fence=held.token)

A lock is an entry of Blueprint's key/value store that ends by itself when nobody renews it. The
holder renews it each quarter of its TTL, and takes it for lost, by its own clock, when three
quarters have passed since the last renewal that is known to have happened was sent: so a quarter is
left for the body to end in before anybody else can have it. The body is cancelled then, and
`held.lost` is set.

No clock can promise that the body has really ended by then (it may hang, or its machine may stand
still). That is what the token is for: it is the revision at which the lock was taken, so who
protects something by it refuses a token that is smaller than one that it has seen.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

from chassis.contest import CALL, Contest, Taken, Want, held_by, packed, read_lock, set_request
from chassis.errors import LockError, LockLostError, LockTakenError

log = logging.getLogger(__name__)

TTL = 30.0
"""Seconds after which a lock is free again when its holder is gone without a word."""

SHORTEST_TTL = 2.0
"""The engine counts whole seconds; below two, a renewal that is late by a breath loses the lock."""

_RENEW = 1 / 4  # of the TTL, between two renewals
KEEP = 3 / 4
"""Of the TTL: how long a holder counts on a renewal."""

_LONGEST_NAME = 900  # bytes; a waiter's key is a little longer and may have 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_LOOK = 5.0  # seconds in which somebody who does not wait gets an answer
_RELEASE = 5.0  # seconds for which a release is tried


class Held:
    """A lock that is ours."""

    def __init__(self, name: str, token: int) -> None:
        self.name = name
        self.token = token
        """It only grows from one holder to the next, and stays while one holds the lock."""
        self.lost = asyncio.Event()
        """Set when the lock is ours no more; the block under it is cancelled, too."""


class Kept(Held):
    """Held for as long as it can be renewed."""

    def __init__(self, stub: rpc.KeyValueServiceAsyncStub, want: Want, taken: Taken) -> None:
        super().__init__(want.name, taken.lock.token)
        self.why = ""
        """What it was lost by."""
        self._stub = stub
        self._ttl = want.ttl
        self._lock = taken.lock
        self._revision = taken.revision
        self._sent = taken.sent
        self._loop = asyncio.get_running_loop()
        self._on_lost: Callable[[], object] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None

    def keep(self, on_lost: Callable[[], object]) -> None:
        """Renew it from now on; `on_lost` is called when that is over, unless `release` was."""
        self._on_lost = on_lost
        self._advance(self._revision, self._sent)
        self._keeping = asyncio.create_task(self._renew_always())

    def stop(self) -> None:
        """Renew it no more, and do not call it lost either."""
        if self._timer is not None:
            self._timer.cancel()
        if self._keeping is not None:
            self._keeping.cancel()

    async def release(self) -> None:
        """Give it back. What Blueprint does not answer in time ends with the TTL."""
        self.stop()
        if self._keeping is not None:
            await asyncio.wait([self._keeping])
        until = self._loop.time() + min(_RELEASE, self._ttl)
        while not self.lost.is_set() and self._loop.time() < until:
            request = pb.DeleteRequest(
                key=self.name, value=packed(self._lock), expected_revision=self._revision
            )
            try:
                await self._stub.Delete(request, timeout=min(CALL, self._ttl))
                return
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED:
                    await asyncio.sleep(_FIRST_PAUSE)
                elif not await self._ours():  # the delete before this one has happened, or
                    return  # it was taken away

    async def _renew_always(self) -> None:
        pause = _FIRST_PAUSE
        while not self.lost.is_set():
            await asyncio.sleep(self._sent + self._ttl * _RENEW - self._loop.time())
            known = self._revision
            if await self._renew():
                pause = _FIRST_PAUSE
            if self._revision != known:  # one that was not answered had happened: at once again
                continue
            await asyncio.sleep(min(pause, self._ttl * _RENEW / 2))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _renew(self) -> bool:
        sent = self._loop.time()
        self._lock.renewed.GetCurrentTime()
        request = set_request(self.name, self._lock, self._ttl, self._revision)
        try:
            answer = await self._stub.Set(request, timeout=min(CALL, self._ttl * _RENEW))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ABORTED:
                log.info("lock %s is not renewed: %s", self.name, error.details())
            elif not await self._ours():
                self._lose("it was taken away")
            return False
        self._advance(answer.revision, sent)
        return True

    async def _ours(self) -> bool:
        """Whether it may still be ours, when it is not at the revision that we know: a write that
        was not answered may have happened. Its time is not known, so it extends nothing."""
        request = pb.GetRequest(key=self.name, value=packed(self._lock))
        try:
            found = await self._stub.Get(request, timeout=min(CALL, self._ttl * _RENEW))
        except grpc.aio.AioRpcError as error:
            return error.code() is not grpc.StatusCode.NOT_FOUND
        if read_lock(found.value).attempt != self._lock.attempt:
            return False
        self._revision = found.revision
        return True

    def _advance(self, revision: int, sent: float) -> None:
        """It is ours until a margin before the TTL of the write that was sent then."""
        self._revision, self._sent = revision, sent
        if self._timer is not None:
            self._timer.cancel()
        why = f"it could not be renewed for {self._ttl * KEEP:g} s"
        self._timer = self._loop.call_at(sent + self._ttl * KEEP, self._lose, why)

    def _lose(self, why: str) -> None:
        if not self.lost.is_set():
            self.why = why
            self.lost.set()
            self.stop()
            if self._on_lost is not None:
                self._on_lost()


class Locks:
    """The locks of a cluster, for one who takes them: `holder` is what others read of us."""

    def __init__(self, blueprint: Callable[[], grpc.aio.Channel], holder: str) -> None:
        self._blueprint = blueprint
        self._holder = holder

    @asynccontextmanager
    async def hold(
        self, name: str, *, ttl: float = TTL, wait: float | None = None
    ) -> AsyncIterator[Held]:
        """Hold the lock while the block runs. `wait`: seconds until LockTakenError; None: for ever,
        0: it is said at once. When the lock is lost the block is cancelled, and LockLostError
        raised in its place."""
        stub: rpc.KeyValueServiceAsyncStub = rpc.KeyValueServiceStub(self._blueprint())
        want = Want(checked(name, ttl), ttl, self._holder, socket.gethostname())
        held = Kept(stub, want, await _taken(stub, want, wait))
        body = asyncio.current_task()
        assert body is not None
        others = body.cancelling()
        held.keep(on_lost=body.cancel)
        try:
            yield held
            held.stop()
        except asyncio.CancelledError:
            held.stop()
            if not held.lost.is_set() or body.uncancel() > others:
                raise
        except BaseException:
            held.stop()
            if held.lost.is_set():
                body.uncancel()
            raise
        else:
            if held.lost.is_set():
                body.uncancel()
        finally:
            await held.release()
        if held.lost.is_set():
            raise LockLostError(f"lock {name} was lost: {held.why}", held=held)

    async def lead(
        self, name: str, work: Callable[[Held], Awaitable[object]], *, ttl: float = TTL
    ) -> None:
        """Stand for leader, run `work(held)` when it is us, and stand again when that was lost.
        Returns when the work does."""
        while True:
            try:
                async with self.hold(name, ttl=ttl) as held:
                    log.info("leads %s", name, extra={"token": held.token})
                    await work(held)
                return
            except LockLostError as error:
                if error.held is not held:  # of another lock, inside the work
                    raise
                log.warning("leads %s no more: %s", name, error)


class OwnLocks(Locks):
    """The locks of a process that knows no Blueprint: it is alone, and has them to itself."""

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._locks: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def hold(
        self, name: str, *, ttl: float = TTL, wait: float | None = None
    ) -> AsyncIterator[Held]:
        lock = self._locks.setdefault(checked(name, ttl), asyncio.Lock())
        try:
            async with asyncio.timeout(wait if wait != 0 or lock.locked() else None):
                await lock.acquire()
        except TimeoutError:
            raise LockTakenError(f"lock {name} is held in this process") from None
        try:
            yield Held(name, next(self._tokens))
        finally:
            lock.release()


async def _taken(stub: rpc.KeyValueServiceAsyncStub, want: Want, wait: float | None) -> Taken:
    contest = Contest(stub, want, patient=wait is None or wait > 0)
    won = False
    try:
        async with asyncio.timeout(None if wait is None else wait or _LOOK):
            taken = await contest.win()
        won = True
        return taken
    except TimeoutError:
        if contest.holder is None:
            raise LockError(f"lock {want.name}: Blueprint did not give it in time") from None
        raise LockTakenError(f"lock {want.name} is {held_by(contest.holder)}") from None
    finally:
        await contest.leave(won=won)


def checked(name: str, ttl: float) -> str:
    """The name, if both can be used; ValueError that says what is wrong."""
    if not name or name != name.strip() or len(name.encode()) > _LONGEST_NAME:
        raise ValueError(
            f"{name!r} is no name of a lock: 1 to {_LONGEST_NAME} bytes, no space around"
        )
    if ttl < SHORTEST_TTL:
        raise ValueError(f"a lock's ttl is {SHORTEST_TTL:g} seconds or more, not {ttl:g}")
    return name
