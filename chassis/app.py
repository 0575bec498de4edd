"""Chassis: declares what a service is, runs it, ends it in order.

app = Chassis()
app.add_servicer(Echo())
app.route(prefix="/examples.echo.v1.EchoService/")
app.run()
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import grpc

from chassis.clients import Address, connect
from chassis.config import Config, Nothing, S, environment, load
from chassis.discovery import ServiceChannel
from chassis.errors import ChassisError, ConfigError
from chassis.lifecycle import Closing
from chassis.logs import setup
from chassis.publishing import Route, publish
from chassis.registration import INSTANCE, Identity, Registration
from chassis.server import adder_of, make_server

log = logging.getLogger(__name__)

BAD_CONFIG = 3
"""Exit status when the configuration cannot be used, as dctl's for a bad spec."""

_HOOK = 10.0  # seconds that one on_stop hook may take
_SLACK = 2.0  # seconds on top of a step's own bound

T = TypeVar("T")
Hook = Callable[[], Awaitable[object]]
Runner = Callable[[asyncio.Event], Awaitable[object]]


class Chassis(Generic[S]):
    """One service. `settings` is the model of its own part of the configuration, `config` the
    file (or a mapping, for tests), `port` where it listens when nobody says otherwise.

    Raises ConfigError from here when the configuration is wrong; `run()` prints it and ends.
    """

    def __init__(
        self,
        name: str = "",
        *,
        config: Path | Mapping[str, Any] | None = None,
        settings: type[S] = cast("type[S]", Nothing),  # noqa: B008 - a constant
        port: int = 0,
    ) -> None:
        try:
            self.config: Config[S] = load(settings, config, env=environment(), name=name)
        except ConfigError as error:
            if isinstance(config, Mapping):
                raise
            _say(error)
            sys.exit(BAD_CONFIG)
        self._bind = self.config.bind(port)
        self._bound: Address | None = None
        self._servicers: list[object] = []
        self._handlers: list[grpc.GenericRpcHandler] = []
        self._routes: list[Route] = []
        self._runners: list[Runner] = []
        self._starts: list[Hook] = []
        self._stops: list[Hook] = []
        self._clients: dict[str, ServiceChannel] = {}
        self._channel: grpc.aio.Channel | None = None
        self._failed: asyncio.Future[None] | None = None

    # Declaring

    @property
    def name(self) -> str:
        """The service's name in the registry."""
        return self.config.name

    @property
    def settings(self) -> S:
        """The service's own settings."""
        return self.config.settings

    @property
    def address(self) -> Address:
        """Where others reach us. With port 0 it is known once we serve."""
        bound = self._bound or self._bind
        return self.config.advertise(bound)

    def add_servicer(self, servicer: object) -> None:
        """Serve an implementation of a generated `...Servicer` class."""
        adder_of(servicer)  # say now what is wrong, at the line that adds it
        self._servicers.append(servicer)

    def add_handler(self, handler: grpc.GenericRpcHandler) -> None:
        """Serve a generic handler, for what has no generated servicer."""
        self._handlers.append(handler)

    def route(
        self,
        prefix: str,
        *,
        host: str = "",
        http2: bool = True,
        name: str = "",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        retries: int = 0,
        rewrite_prefix: str = "",
    ) -> None:
        """Ask for a route at the ingress; it leads to every instance of this service."""
        headers = dict(headers or {})
        self._routes.append(
            Route(prefix, host, http2, name, headers, timeout, retries, rewrite_prefix)
        )

    def runner(self, runner: Runner) -> Runner:
        """Run `runner(stop)` beside the server; it should return when `stop` is set. If it fails,
        the process ends with status 1, for its supervisor to start it anew."""
        self._runners.append(runner)
        return runner

    def on_start(self, hook: Hook) -> Hook:
        """Await `hook()` before serving, in the order in which hooks were given."""
        self._starts.append(hook)
        return hook

    def on_stop(self, hook: Hook) -> Hook:
        """Await `hook()` after serving, in reverse order, also when the start failed half-way."""
        self._stops.append(hook)
        return hook

    def client(self, stub: Callable[[Any], T], service: str) -> T:
        """A stub whose calls go to the running, healthy instances of `service`, in turn."""
        if service not in self._clients:
            self._clients[service] = ServiceChannel(service)
        return stub(self._clients[service])

    def blueprint(self) -> grpc.aio.Channel:
        """The channel to Blueprint. Raises ChassisError when no entrypoint is configured."""
        entrypoint = self.config.platform.service.entrypoint
        if not entrypoint:
            raise ChassisError("service.entrypoint is not set: nobody knows where Blueprint is")
        if self._channel is None:
            self._channel = connect(entrypoint)
        return self._channel

    # Running

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end in order. Exits with 1 after a failure."""
        logs = self.config.platform.draft.log
        setup(logs.level, logs.format)
        try:
            asyncio.run(self._main())
        except ChassisError as error:
            _say(error)
            sys.exit(1)
        except Exception:
            log.exception("%s failed", self.name)
            sys.exit(1)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve inside a running loop, for as long as the block lasts."""
        closing = Closing()
        try:
            await self._open(closing)
            yield
        finally:
            await asyncio.shield(closing.close())

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        asked = asyncio.create_task(stop.wait())
        closing = Closing()
        try:
            # A start may wait for others for ever; the signal ends it too.
            opening = asyncio.create_task(self._open(closing))
            await asyncio.wait([opening, asked], return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                opening.cancel()
                await asyncio.wait([opening])
                return
            opening.result()
            assert self._failed is not None
            waited: list[asyncio.Future[Any]] = [self._failed, asked]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                self._failed.result()
        finally:
            asked.cancel()
            await closing.close()
            log.info("%s has ended", self.name)

    async def _open(self, closing: Closing) -> None:
        self._failed = asyncio.get_running_loop().create_future()
        draft = self.config.platform.draft
        for hook in self._stops:
            closing.push(f"on_stop {hook}", hook, within=_HOOK)
        if self._channel is not None or self.config.platform.service.entrypoint:
            closing.push("the channel to Blueprint", self._close_channel, within=_SLACK)
        for channel in self._clients.values():
            closing.push("a client", channel.close, within=_SLACK)
            self._background(closing, channel.follow(self.blueprint()), "a client's registry")
        for hook in self._starts:
            await hook()
        server = make_server(self._servicers, self._bind, handlers=self._handlers)
        self._bound = server.address
        registered = bool(self.config.platform.service.entrypoint)
        if registered:
            registration = self._register(server.services)
        await server.start()
        closing.push("the server", lambda: server.stop(draft.grace), within=draft.grace + _SLACK)
        log.info("%s serves", self.name, extra={"address": self.address})
        stop = asyncio.Event()
        for runner in self._runners:
            self._background(closing, runner(stop), f"runner {runner}", stop=stop)
        if registered:
            closing.push("leaving the registry", registration.finalize, within=_SLACK)
            self._background(closing, registration.run(), "the registration")

        async def leave() -> None:
            await server.set_serving(False)
            if registered and registration.pid:
                registration.set_health("unhealthy")
                await asyncio.sleep(draft.drain)  # until the proxies send nothing more

        closing.push("draining", leave, within=draft.drain + _SLACK)

    def _register(self, services: tuple[str, ...]) -> Registration:
        service = self.config.platform.service
        instance = self.config.instance
        channel = self.blueprint()
        metadata = {**service.metadata, **({INSTANCE: instance} if instance else {})}
        identity = Identity(self.name, service.group, self.config.nonce, self.address, metadata)

        async def tell() -> None:
            await publish(channel, self.name, services, self._routes)

        beat = self.config.platform.draft.beat
        return Registration(channel, identity, beat=beat, on_registered=tell)

    def _background(
        self,
        closing: Closing,
        work: Awaitable[object],
        what: str,
        *,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Run `work` as a task that is ended in order; its failure is the service's failure."""
        task = asyncio.ensure_future(work)

        def report(task: asyncio.Future[object]) -> None:
            if task.cancelled() or self._failed is None or self._failed.done():
                return
            if error := task.exception():
                log.error("%s failed", what, exc_info=error)
                failure = ChassisError(f"{what} failed: {error}")
                self._failed.set_exception(failure)
                self._failed.exception()  # seen: a service in a test may never look

        task.add_done_callback(report)

        async def end() -> None:
            if stop is not None:
                stop.set()
                await asyncio.wait([task], timeout=_SLACK)
            task.cancel()
            await asyncio.wait([task])

        closing.push(what, end, within=2 * _SLACK)

    async def _close_channel(self) -> None:
        if self._channel is not None:
            await self._channel.close()
            self._channel = None


def _say(error: ChassisError) -> None:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
