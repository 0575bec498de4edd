"""Blueprint's parts: opened in order, watched while they run, closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ssl import SSLContext
from typing import Any

from chassis.figures import Figure
from draft_services.blueprint.access import Access
from draft_services.blueprint.backup import Backup
from draft_services.blueprint.figures import figures
from draft_services.blueprint.keyvalue import KeyValue
from draft_services.blueprint.leadership import Leadership
from draft_services.blueprint.registry import Registry
from draft_services.blueprint.rpc.backup import BackupRpc
from draft_services.blueprint.rpc.gate import Gate
from draft_services.blueprint.rpc.keyvalue import LEADER, KeyValueRpc, plain_text, plain_value
from draft_services.blueprint.rpc.raft import RaftRpc
from draft_services.blueprint.rpc.registry import RegistryRpc
from draft_services.blueprint.scrub import Scrub
from draft_services.blueprint.settings import Settings
from draft_services.blueprint.tokens import Tokens
from draft_services.blueprint.view import View
from draft_services.engine import epochs
from draft_services.engine.cluster import Cluster
from draft_services.engine.connection import Connection
from draft_services.engine.errors import Full, Replaced, Unavailable
from draft_services.engine.jetstream import JetStreamStore
from draft_services.engine.leases import Leases
from draft_services.engine.members import Members
from draft_services.engine.nodes import Nodes
from draft_services.engine.streams import bucket_stream, ensure, objects_config

logger = logging.getLogger(__name__)

SERVICE = "blueprint"
KEYS, PROCESSES, SIGNING, LEASES = "keys", "processes", "signing", "leases"
_CONNECT = 2.0  # seconds until we say that we wait for the engine
# Entries from which on they are kept out of garbage collections, each of which would stop all else
# for a second at a million of them.
_MANY = 10_000
_PROMPT = 2.0  # seconds in which a node that can serve has asked the engine and caught up
_AGAIN = 1.0  # seconds between looks for data that are to come
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0


class Blueprint:
    """One Blueprint node. `address` is where others reach it, as host:port; with `tls` it speaks
    to the engine."""

    def __init__(self, settings: Settings, *, address: str, tls: SSLContext | None = None) -> None:
        self._settings = settings
        name, engine = f"blueprint {address}", settings.nats
        self._connection = Connection(
            engine, name=name, login=settings.login("draft", tls), epoch=settings.epoch
        )
        system = Connection(engine, name=name, login=settings.login("system", tls))
        several = bool(settings.engine) and system.copies > 1
        self._connections = [self._connection, *([system] if several else [])]
        nodes = Nodes(self._connection, system if several else None)
        self._keys = JetStreamStore(self._connection, KEYS, nodes)
        self._processes = JetStreamStore(self._connection, PROCESSES, nodes)
        signing = JetStreamStore(self._connection, SIGNING, nodes)
        self._leases = Leases(self._connection, LEASES, max_age=settings.gone)
        self._tokens = Tokens(signing, lifetime=settings.token_lifetime)
        self._opening = [self._keys.open, self._processes.open, signing.open, self._tokens.open]
        for bucket, most in settings.objects.items():
            config = objects_config(bucket, max_bytes=most)
            self._opening.append(functools.partial(self._made, config))
        self._registry = Registry(
            self._processes,
            self._leases,
            self._tokens,
            nonce=settings.read_nonce,
            silent=settings.silent,
            gone=settings.gone,
            max_watchers=settings.max_watchers,
        )
        self._view = View(self._keys)
        leadership = self._leadership = Leadership(
            self._keys,
            self._view,
            self._registry,
            service=SERVICE,
            address=address,
            key=LEADER,
            encode=plain_value,
            decode=plain_text,
        )
        backup = Backup(
            self._connection,
            nonce=settings.read_nonce,
            live=[bucket_stream(PROCESSES)],
            current=self._current,
            hold=self._keys.commit.hold,
        )
        self._keyvalue = KeyValue(self._keys, self._view, settings.limits)
        access = Access(
            self._tokens,
            self._registry.alive,
            settings.read_nonce,
            required=settings.calls == "token",
            permissions=settings.permissions,
            rate=settings.rate,
        )
        self._scrub = Scrub(
            self._connection,
            nodes,
            every=settings.scrub,
            needed=[bucket_stream(KEYS), bucket_stream(SIGNING)],
            live=[bucket_stream(PROCESSES)],
        )
        gate = Gate(access, noted=settings.audit)
        cluster = Cluster(self._connection)
        keys = Gate(access, noted=settings.audit, whole=self._scrub.check)
        self.servicers = (
            KeyValueRpc(self._keyvalue, keys),
            RegistryRpc(self._registry, leadership, gate),
            RaftRpc(cluster, Members(cluster, system if several else None), gate),
            BackupRpc(backup, self._scrub.accept),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._awaits_data = False

    async def open(self) -> None:
        """Return once everything is read from the engine; waits for the engine to come."""
        for connection in self._connections:
            await _patiently(functools.partial(connection.open, within=_CONNECT))
        await _patiently(self._look_for_data)
        if self._awaits_data:
            # There is nothing to serve but the way in.
            self._run(self._await_data)
            return
        await _patiently(self._scrub.look)
        if self._scrub.damaged:
            # What is damaged may not even be read to its end: there is nothing to serve either.
            self._run(functools.partial(self._scrub.run, lambda: False))
            return
        for step in self._opening:
            await _patiently(step)
        self._run(self._view.follow, self._registry.view.follow)
        with _collecting_later():
            await self._or_failure(self._view.loaded(), self._registry.view.loaded())
        if self._view.count > _MANY:
            gc.collect()
            gc.freeze()
        self._run(
            self._tokens.rotate,
            self._leases.send,
            self._registry.listen,
            self._registry.judge,
            self._leadership.hold,
            functools.partial(self._scrub.run, lambda: self._leadership.leads),
        )

    async def watch(self, stop: asyncio.Event) -> None:
        """Return at `stop`; raises what one of the parts failed with."""
        await self._or_failure(stop.wait())

    def figures(self) -> Iterator[Figure]:
        """What there is to tell Prometheus."""
        writes = {"keys": self._keys.commit, "processes": self._processes.commit}
        return figures(self._keyvalue, self._view, self._registry, writes)

    async def can_serve(self) -> None:
        """Return if reads and writes are possible now; raises why not."""
        if self._awaits_data:
            raise Unavailable(
                "the engine's data are yet to be restored: dctl infra apply, where it was begun, or"
                " dctl backup restore FILE"
            )
        self._scrub.check()
        try:
            async with asyncio.timeout(_PROMPT):
                await self._current()
                if self._keys.commit.why_not:
                    await self._leadership.renew()
        except TimeoutError:
            if why := self._keys.commit.why_not:
                raise Full(why) from None
            raise Unavailable(
                f"the engine at {self._settings.nats} does not answer within {_PROMPT:g} s"
            ) from None
        if why := self._keys.commit.why_not:
            raise Full(why)

    async def close(self) -> None:
        """End the parts, then the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._scrub.close()
        for connection in reversed(self._connections):
            await connection.close()

    async def _made(self, stream: Mapping[str, Any]) -> None:
        await ensure(self._connection, stream)

    async def _look_for_data(self) -> None:
        self._awaits_data = not await epochs.arrived(self._connection)

    async def _await_data(self) -> None:
        """Raises once they are there: then this process begins anew."""
        while True:
            await asyncio.sleep(_AGAIN)
            with contextlib.suppress(Unavailable):
                if await epochs.arrived(self._connection):
                    raise Replaced("all data have arrived: this process begins anew")

    async def _current(self) -> None:
        if self._scrub.damaged:
            return  # it may not have been read, and a backup is to replace it
        await self._view.current()
        await self._registry.view.current()

    def _run(self, *parts: Callable[[], Awaitable[None]]) -> None:
        for part in parts:
            self._tasks.append(asyncio.create_task(_for_ever(part)))

    async def _or_failure(self, *awaited: Awaitable[object]) -> None:
        """Wait for all of `awaited`, but no longer than every part runs."""
        waiting = asyncio.gather(*awaited)
        watched: set[asyncio.Future[Any]] = {waiting, *self._tasks}
        try:
            done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


@contextlib.contextmanager
def _collecting_later() -> Iterator[None]:
    """What is read stays: looking for garbage among it takes a tenth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _for_ever(part: Callable[[], Awaitable[None]]) -> None:
    await part()
    raise RuntimeError(f"{part} ended, which it must not")


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Do a step, as often as it takes for the engine to come."""
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
