"""One connection to the engine.

It speaks JetStream's API as JSON over requests. A failure is one of `errors`, with words. Writes
are never buffered while the connection is down: a write that failed must not happen a minute later.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from chassis.tls import host_name
from draft_services.engine.errors import Unavailable, refused, translated

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
REQUEST_TIMEOUT = 5.0
_RECONNECT_WAIT = 0.1  # a killed server is back in ~0.1 s under a supervisor
_PING_INTERVAL = 3  # nats-py's 120 s would leave us hanging on a stopped server
_REFUSED = "Authorization Violation"  # in words of the server
_HOST_NAME = host_name("nats")  # in the certificate of every node
_DRAIN_TIMEOUT = 2
_AGAIN = 0.05  # seconds until what was cancelled and still runs is cancelled again
_MOST_COPIES = 5
# Told by the engine to whoever wants to know. What the leader before was asked is lost, unless the
# answer is on its way already.
_ELECTED = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
_ON_ITS_WAY = 0.2
_READS = ("$JS.API.STREAM.INFO.", "$JS.API.STREAM.MSG.GET.")


class _Asked(NamedTuple):
    """A request on its way."""

    subject: str
    answered: asyncio.Future[Msg]


class Login(NamedTuple):
    """Who we are to the engine; with `tls` we and it prove that by certificates as well."""

    user: str
    password: str
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"Login({self.user})"


class Connection:
    """A connection that reconnects by itself once it was opened.

    `url` may list several servers, separated by commas; `name` is what they show of us. One that
    does not answer for some `ping` seconds, two times, is left for another. `login` is None where
    the engine asks nobody who they are. Of `epoch` see `epochs`.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        ping: int = _PING_INTERVAL,
        login: Login | None = None,
        epoch: int = 0,
    ) -> None:
        self.url = url
        self.name = name
        self.epoch = epoch
        self._ping = ping
        self._login = login
        self._client = Client()
        self._on_reconnect: list[Callable[[], None]] = []
        self._answers = f"{self._client.new_inbox()}."
        self._asked: dict[str, _Asked] = {}
        self._asked_all: dict[str, asyncio.Queue[Msg]] = {}
        self._number = 0
        self._refused = False  # for who we are

    async def open(self, within: float = CONNECT_TIMEOUT) -> None:
        """Connect; raises `Unavailable` when that takes longer than `within` seconds.

        After a failure it may be opened again. Later losses are healed by reconnecting for ever.
        """
        self._refused = False
        self._client = Client()  # one that failed to connect is of no further use
        try:
            with translated(f"connect to the engine at {self.url}"):
                await _within(within, self._connect())
        except BaseException as error:
            await self.close()
            if isinstance(error, Exception):
                if self._refused:
                    raise Unavailable(
                        f"the engine at {self.url} refuses us: its password is another one"
                    ) from error
                raise Unavailable(
                    f"the engine at {self.url} cannot be reached within {within:g} s; "
                    "see that nats-server runs there"
                ) from error
            raise

    @property
    def copies(self) -> int:
        """How many copies of a stream there are to be: one on each of the servers that were named,
        and no more than JetStream takes."""
        return min(len(self.url.split(",")), _MOST_COPIES)

    @property
    def connected(self) -> bool:
        """Whether requests can be sent now."""
        return bool(self._client.is_connected)

    @property
    def server_name(self) -> str:
        """The name of the server that we are connected to, or were last."""
        return str(self._client._server_info.get("server_name", ""))

    @property
    def server_version(self) -> str:
        """Of the server that we are connected to, or were last."""
        return str(self._client._server_info.get("version", ""))

    async def another(self, *, name: str, ping: int = _PING_INTERVAL) -> Connection:
        """One more to the same engine, open, as the same user."""
        return await connect(self.url, name=name, ping=ping, login=self._login)

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have `call` called after every reconnect; returns what takes it off the list."""
        self._on_reconnect.append(call)
        return lambda: self._on_reconnect.remove(call)

    def inbox(self) -> str:
        """A fresh subject to be answered on."""
        return str(self._client.new_inbox())

    async def request(
        self,
        subject: str,
        payload: bytes,
        *,
        doing: str,
        headers: Mapping[str, str] | None = None,
        within: float = REQUEST_TIMEOUT,
    ) -> Msg:
        """Send and wait for the answer; a lost connection ends the wait at once."""
        self._check(doing)
        reply = self._reply()
        answered = asyncio.Future[Msg]()
        self._asked[reply] = _Asked(subject, answered)
        try:
            with translated(doing):
                await self._client.publish(
                    subject, payload, reply, dict(headers) if headers else None
                )
                async with asyncio.timeout(within):
                    return await answered
        finally:
            del self._asked[reply]

    @asynccontextmanager
    async def ask_all(
        self, subject: str, payload: bytes, *, doing: str
    ) -> AsyncIterator[asyncio.Queue[Msg]]:
        """Send to whoever hears it; their answers come into the queue. How long to wait, and for
        how many, is the caller's."""
        self._check(doing)
        reply = self._reply()
        answers = self._asked_all[reply] = asyncio.Queue[Msg]()
        try:
            with translated(doing):
                await self._client.publish(subject, payload, reply)
            yield answers
        finally:
            del self._asked_all[reply]

    async def api(
        self,
        verb: str,
        body: Mapping[str, Any] | None = None,
        *,
        within: float = REQUEST_TIMEOUT,
    ) -> dict[str, Any]:
        """One call of JetStream's API, such as ``STREAM.INFO.KV_x``."""
        answer = await self.request(
            f"$JS.API.{verb}",
            json.dumps(body or {}).encode(),
            doing=f"JetStream {verb}",
            within=within,
        )
        return parsed(answer.data, f"JetStream {verb}")

    async def write(
        self, subject: str, payload: bytes, *, doing: str, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """Store one message; returns once it is on disk, with JetStream's acknowledgement."""
        answer = await self.request(subject, payload, doing=doing, headers=headers)
        return parsed(answer.data, doing)

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        doing: str,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Send without waiting for anything; answers, if any, go to `reply`."""
        self._check(doing)
        with translated(doing):
            await self._client.publish(
                subject, payload, reply, headers=dict(headers) if headers else None
            )

    async def subscribe(self, subject: str, call: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Have `call` called for every message on `subject`."""
        with translated(f"subscribe to {subject}"):
            return await self._client.subscribe(subject, cb=call)

    async def close(self) -> None:
        """Send what is waiting, then close. Never fails."""
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await self._client.flush(_DRAIN_TIMEOUT)
        # It may wait for ever for a connection that broke while it was being encrypted.
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await _within(_DRAIN_TIMEOUT, self._client.close())

    def _reply(self) -> str:
        self._number += 1
        return f"{self._answers}{self._number}"

    async def _answered(self, message: Msg) -> None:
        if (answers := self._asked_all.get(message.subject)) is not None:
            answers.put_nowait(message)
            return
        asked = self._asked.get(message.subject)
        if asked is None or asked.answered.done():
            return  # it came too late
        if message.headers and message.headers.get("Status") == "503":
            asked.answered.set_exception(nats.errors.NoRespondersError())
        else:
            asked.answered.set_result(message)

    async def _elected(self, message: Msg) -> None:
        """A stream has another leader: nobody answers any more what was asked before."""
        stream = message.subject.removeprefix(_ELECTED)
        before = [asked for asked in self._asked.values() if _is_for(asked.subject, stream)]
        if before:
            asyncio.get_running_loop().call_later(_ON_ITS_WAY, _give_up, before)

    def _check(self, doing: str) -> None:
        if not self._client.is_connected:
            raise Unavailable(
                f"{doing}: the engine at {self.url} cannot be reached; it is tried again "
                "all the time: see that nats-server runs there"
            )

    async def _connect(self) -> None:
        async def disconnected() -> None:
            _give_up(self._asked.values())
            if not self._client.is_closed:
                logger.warning("lost the engine at %s; reconnecting", self.url)

        async def reconnected() -> None:
            logger.info("reconnected to the engine at %s", self.url)
            for call in list(self._on_reconnect):
                call()

        async def failed(error: Exception) -> None:
            # Every attempt to reconnect ends here too, so this cannot be louder.
            if _REFUSED in str(error):
                self._refused = True
            logger.debug("nats-py: %s: %s", type(error).__name__, error)

        await self._client.connect(
            servers=[part.strip() for part in self.url.split(",")],
            name=self.name,
            user=self._login.user if self._login else None,
            password=self._login.password if self._login else None,
            tls=self._login.tls if self._login else None,
            tls_hostname=_HOST_NAME if self._login and self._login.tls else None,
            connect_timeout=2,
            reconnect_time_wait=_RECONNECT_WAIT,  # type: ignore[arg-type]  # seconds, a float too
            max_reconnect_attempts=-1,
            ping_interval=self._ping,
            max_outstanding_pings=2,
            pending_size=0,  # no buffering while disconnected
            error_cb=failed,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
        )
        await self._client.subscribe(f"{self._answers}*", cb=self._answered)
        await self._client.subscribe(f"{_ELECTED}*", cb=self._elected)


async def connect(
    url: str,
    *,
    name: str,
    within: float = CONNECT_TIMEOUT,
    ping: int = _PING_INTERVAL,
    login: Login | None = None,
) -> Connection:
    """An open connection; raises as `Connection.open` does."""
    connection = Connection(url, name=name, ping=ping, login=login)
    await connection.open(within)
    return connection


def _give_up(requests: Iterable[_Asked]) -> None:
    for asked in requests:
        if not asked.answered.done():
            asked.answered.set_exception(nats.errors.StaleConnectionError())


def _is_for(subject: str, stream: str) -> bool:
    """Whether a request is a write to that stream, or a read of it."""
    if subject.startswith("$JS.API."):
        return subject.startswith(_READS) and subject.split(".")[-1] == stream
    kept = f"$KV.{stream.removeprefix('KV_')}." if stream.startswith("KV_") else f"{stream}."
    return subject.startswith(kept)


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """As `asyncio.timeout`, for work that may swallow a cancellation, as nats-py's does when it
    comes together with what it waits for: then it is cancelled once more."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            raise TimeoutError
        task.result()
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_AGAIN)


def parsed(data: bytes, doing: str) -> dict[str, Any]:
    """A JetStream answer; its refusal as one of our errors."""
    answer: dict[str, Any] = json.loads(data)
    if error := answer.get("error"):
        raise refused(error, doing)
    return answer
