"""Chassis: declares what a service is, runs it, ends it in order.

app = Chassis()
app.add_servicer(Echo())
app.route(prefix="/examples.echo.v1.EchoService/")
app.run()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import grpc

from chassis import calls, process
from chassis.clients import Address, connect
from chassis.config import Config, Nothing, S, environment, load
from chassis.discovery import BLUEPRINT, FUSE, Clients
from chassis.errors import ChassisError, ConfigError
from chassis.figures import Figures
from chassis.guard import Guard
from chassis.health import Check, Checkup
from chassis.lifecycle import Background, Closing, named
from chassis.locks import TTL, Held, Locks, OwnLocks
from chassis.logs import setup
from chassis.proof import by_nonce, by_token
from chassis.publishing import Route, publish
from chassis.registration import INSTANCE, METRICS, Identity, Registration
from chassis.server import Server, adder_of, make_server
from chassis.slow import SlowLog

if TYPE_CHECKING:
    from chassis.metrics import Metrics

log = logging.getLogger(__name__)

BAD_CONFIG = 3
"""Exit status when the configuration cannot be used, as dctl's for a bad spec."""

_HOOK = 10.0  # seconds that one on_stop hook may take
_LONGEST_DRAIN = 4.0  # seconds; dctl kills after 10, and calls that run get their grace as well
_FOUND = 5.0  # seconds that we wait for the registry before we say that we serve
_SLACK = 2.0  # seconds on top of a step's own bound

T = TypeVar("T")
Hook = Callable[[], Awaitable[object]]
Runner = Callable[[asyncio.Event], Awaitable[object]]
Leading = Callable[[Held], Awaitable[object]]


class Chassis(Generic[S]):
    """One service. `settings` is the model of its own part of the configuration, `config` the
    file (or a mapping, for tests), `port` where it listens when nobody says otherwise.

    A wrong configuration is printed and ends the process with status 3; one that a test gives as
    a mapping raises ConfigError.
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
        self._leaders: list[tuple[str, float, Leading]] = []
        self._starts: list[Hook] = []
        self._stops: list[Hook] = []
        self._guarded = False
        self._figures: list[Figures] = []
        self._checks: list[Check] = []
        self._checkups: list[Checkup] = []
        self._clients = Clients()
        entrypoint = self.config.platform.service.entrypoint
        holder = self.config.instance or self.name
        self._locks = Locks(self.blueprint, holder) if entrypoint else OwnLocks()
        self._channel: grpc.aio.Channel | None = None
        self._server: Server | None = None
        self._registration: Registration | None = None
        self._ill = ""  # why, when somebody said so
        self._found = False
        self._scraped = ""  # where metrics are told
        self._ending = False

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

    def leader(self, name: str, *, ttl: float = TTL) -> Callable[[Leading], Leading]:
        """Run `work(held)` beside the server in one process of the cluster at a time: the one that
        holds the lock `name`. It is cancelled when that is lost, and stands again then. When it
        returns, others may lead; if it fails, the process ends with status 1, as for a runner."""

        def declare(work: Leading) -> Leading:
            self._leaders.append((name, ttl, work))
            return work

        return declare

    def on_start(self, hook: Hook) -> Hook:
        """Await `hook()` before serving, in the order in which hooks were given."""
        self._starts.append(hook)
        return hook

    def on_stop(self, hook: Hook) -> Hook:
        """Await `hook()` after serving, in reverse order, also when the start failed half-way."""
        self._stops.append(hook)
        return hook

    def health_check(self, check: Check) -> Check:
        """Ask `check()` each second whether this instance can do its work. When it has raised, or
        not returned, for longer than a moment, callers are sent to others and health says
        NOT_SERVING with its words, until it returns again. It never ends the process."""
        self._checks.append(check)
        return check

    def guard(self) -> None:
        """Ask Blueprint who calls, where the cluster wants to know it: for core services, to whom
        callers prove it."""
        self._guarded = True

    def figures(self, source: Figures) -> Figures:
        """Have `source()` called at each scrape of the metrics, if they are asked for, for figures
        of this service's own. What it keeps with prometheus_client is told without asking."""
        self._figures.append(source)
        return source

    def client(
        self, stub: Callable[[Any], T], service: str, *, timeout: float = calls.TIMEOUT
    ) -> T:
        """A stub whose calls go to the running, healthy instances of `service`, in turn. `timeout`
        (seconds) is for calls with one answer that are given none."""
        return stub(calls.ServiceChannel(self._clients.instances(service), timeout))

    def blueprint(self) -> grpc.aio.Channel:
        """The channel to Blueprint, for code inside the loop. Raises ChassisError outside of it
        (a channel belongs to its loop), or when no entrypoint is configured."""
        entrypoint = self.config.platform.service.entrypoint
        if not entrypoint:
            raise ChassisError("service.entrypoint is not set: nobody knows where Blueprint is")
        if self._channel is None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                raise ChassisError(
                    "blueprint() is for a running service: call it in a hook, a runner or a handler"
                ) from None
            self._channel = self._connect(BLUEPRINT, entrypoint)
        return self._channel

    def lock(
        self, name: str, *, ttl: float = TTL, wait: float | None = None
    ) -> AbstractAsyncContextManager[Held]:
        """Hold the cluster's lock `name` while the block runs; see `Locks.hold`. It is free again
        when the block ends, or `ttl` seconds after this process is gone without a word."""
        return self._locks.hold(name, ttl=ttl, wait=wait)

    # Running

    async def set_healthy(self, healthy: bool, why: str = "") -> None:
        """Say whether this instance can do its work; callers are sent to others while it cannot.
        `why` is told to who looks after it (`dctl infra status`)."""
        self._ill = "" if healthy else why or "it says so itself"
        await self._tell_health()

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end in order. Exits with 1 after a failure."""
        logs = self.config.platform.draft.log
        setup(logs.level, logs.format)
        try:
            process.run(self._open)
        except ChassisError as error:
            _say(error)
            sys.exit(1)
        except (Exception, asyncio.CancelledError):  # a hook may let one out
            log.exception("%s failed", self.name)
            sys.exit(1)
        log.info("%s has ended", self.name)

    @asynccontextmanager
    async def serving(self, services: Mapping[str, str] | None = None) -> AsyncIterator[None]:
        """Serve inside a running loop, for as long as the block lasts; raises what failed
        meanwhile. `services` are addresses of other services, which are then not looked for."""
        closing = Closing()
        try:
            background = await self._open(closing, services)
            yield
            if background.failed.done():
                background.failed.result()
        finally:
            await asyncio.shield(closing.close())

    async def _open(
        self, closing: Closing, services: Mapping[str, str] | None = None
    ) -> Background:
        background = Background()
        draft = self.config.platform.draft
        self._ending, self._server, self._registration = False, None, None
        closing.push("the channel to Blueprint", self._close_channel, within=_SLACK)
        closing.push("clients", self._clients.close, within=_SLACK)
        for hook in self._stops:
            closing.push(f"on_stop {named(hook)}", hook, within=_HOOK)
        self._clients.open(
            self.blueprint,
            fixed=services or {},
            watch=background.watch,
            prove=self._prove if self._proves else None,
            tls=self.config.tls,
        )
        for hook in self._starts:
            await hook()
        self._checkups = [Checkup(check) for check in self._checks]
        for checkup in self._checkups:
            await checkup.ask()
        metrics = await self._open_metrics(closing)
        slow = SlowLog(draft.slow, self.config.instance or self.name) if draft.slow else None
        guard = Guard(self.blueprint) if self._guarded and self._proves else None
        server = make_server(
            self._servicers,
            self._bind,
            handlers=self._handlers,
            slow=slow,
            metrics=metrics,
            guard=guard,
            tls=self.config.tls,
            reflects=draft.reflection,
        )
        self._bound = server.address
        if self.config.platform.service.entrypoint:
            self._registration = self._register(server.services)
        closing.push("the server", lambda: server.stop(draft.grace), within=draft.grace + _SLACK)
        self._found = self._registration is None
        why = self._why_not()
        await server.start(serving=not why, why=why)
        self._server = server
        log.info("%s serves", self.name, extra={"address": self.address})
        stop = asyncio.Event()
        for runner in self._runners:
            background.run(closing, runner(stop), f"runner {named(runner)}", stop=stop)
        for name, ttl, work in self._leaders:
            leading = self._locks.lead(name, work, ttl=ttl)
            background.run(closing, leading, f"leader {named(work)}")
        for check, checkup in zip(self._checks, self._checkups, strict=True):
            what = f"the health check {named(check)}"
            background.run(closing, checkup.run(self._tell_health), what)
        if registration := self._registration:
            closing.push("leaving the registry", registration.finalize, within=_SLACK)
            background.run(closing, registration.run(), "the registration")
            background.run(closing, self._be_found(registration), "being found")
        await self._tell_health()
        closing.push("draining", self._leave, within=max(draft.drain, _LONGEST_DRAIN) + _SLACK)
        return background

    async def _open_metrics(self, closing: Closing) -> Metrics | None:
        """At the address where we serve, on a port of their own."""
        self._scraped = ""
        asked = self.config.platform.draft.metrics
        if asked.port is None:
            return None
        from chassis.metrics import Metrics  # its library is for who wants them

        metrics = Metrics(self._figures)
        closing.push("metrics", metrics.close, within=_SLACK)
        bound = await metrics.serve(Address(self._bind.host, asked.port))
        host = self.config.advertise(self._bind).host
        self._scraped = asked.address or str(Address(host, bound.port))
        log.info("metrics", extra={"address": bound})
        return metrics

    def _register(self, services: tuple[str, ...]) -> Registration:
        service = self.config.platform.service
        instance = self.config.instance
        channel = self.blueprint()
        own = {INSTANCE: instance, METRICS: self._scraped}
        metadata = {**service.metadata, **{key: value for key, value in own.items() if value}}
        identity = Identity(self.name, service.group, self.config.nonce, self.address, metadata)

        async def tell() -> None:
            await publish(channel, self.name, services, self._routes, partial(self._connect, FUSE))

        beat = self.config.platform.draft.beat
        return Registration(channel, identity, beat=beat, on_registered=tell)

    async def _be_found(self, registration: Registration) -> None:
        """Say that we serve once callers can find us: whoever waits for that may take away another
        one that serves them. When Blueprint is away for long, we serve who knows our address."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FOUND):
                await registration.found.wait()
        self._found = True
        await self._tell_health()

    async def _leave(self) -> None:
        """Ask to be called no more, and wait until proxies and clients have heard it: until they
        call no more, for how long the word takes to them depends on how busy everything is."""
        self._ending = True
        await self._tell_health()
        if self._server is not None and self._registration is not None and self._registration.pid:
            drain = self.config.platform.draft.drain
            with contextlib.suppress(TimeoutError):  # who knows us by address hears nothing
                async with asyncio.timeout(max(drain, _LONGEST_DRAIN)):
                    await self._server.quiet(drain)

    async def _tell_health(self) -> None:
        why = self._why_ill()
        if self._registration is not None:
            self._registration.set_health("unhealthy" if why else "healthy")
        why = self._why_not()
        if self._server is not None:
            await self._server.set_serving(not why, why)

    def _why_ill(self) -> str:
        """Why nobody should call this instance; "" when all is well."""
        if self._ending:
            return "it is ending"
        return self._ill or next(filter(None, (each.why for each in self._checkups)), "")

    def _why_not(self) -> str:
        """Why it does not serve: it is ill, or nobody can find it yet."""
        return self._why_ill() or ("" if self._found else "the registry does not know it yet")

    def _connect(self, core: str, address: str | Address) -> grpc.aio.Channel:
        """A channel to a core service, that knows who we are if it wants to."""
        tls = self.config.tls
        prove = self._prove if self._proves else None
        return connect(address, prove, tls.to(core) if tls else None)

    @property
    def _proves(self) -> bool:
        return self.config.platform.draft.calls == "token"

    def _prove(self) -> str:
        """Who we are: by the registry's word, and before it gave one by what we tell it."""
        if self._registration is not None and (token := self._registration.token):
            return by_token(token)
        return by_nonce(self.name, self.config.nonce())

    async def _close_channel(self) -> None:
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()


def _say(error: ChassisError) -> None:
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)  # noqa: T201 - logs are not set up yet
