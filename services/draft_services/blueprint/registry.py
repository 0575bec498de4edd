"""The life cycle of processes.

The registry's entries are the engine's; its memory holds only what can be rebuilt: the view, and
who was heard when. A beat that changes nothing is written nowhere but to the memory stream of
leases. Every Blueprint hears every beat and judges silence; writes are conditional on the entry's
revision, so that two of them judging at once do no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import replace
from uuid import uuid4

from draft_services.blueprint.errors import Denied, Exhausted, InvalidArgument, NotFound
from draft_services.blueprint.limits import too_many_watches
from draft_services.blueprint.liveness import Liveness, Verdict
from draft_services.blueprint.nonce import Nonce, admitted
from draft_services.blueprint.process import Details, Filter, HealthState, Process, RunningState
from draft_services.blueprint.tokens import Claims, Token, Tokens
from draft_services.blueprint.view import View
from draft_services.engine.errors import Compacted, Conflict, EngineError
from draft_services.engine.leases import Leases
from draft_services.engine.store import Change, Key, Store

logger = logging.getLogger(__name__)

MAX_NAME = 255
MAX_LABELS = 64
MAX_LABEL = 1024
_ATTEMPTS = 8


class Registry:
    """Who runs where."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        tokens: Tokens,
        *,
        nonce: Nonce,
        silent: float,
        gone: float,
        max_watchers: int = 10_000,
    ) -> None:
        self.view = View(store, on_change=self._applied)
        self._store = store
        self._leases = leases
        self._tokens = tokens
        self._nonce = nonce
        self._processes: dict[str, dict[Key, Process]] = {}  # by service: who asks names one
        self._keys: dict[str, Key] = {}
        self._heard_ns: dict[str, int] = {}
        self._liveness = Liveness(silent=silent, gone=gone)
        self._wake = asyncio.Event()
        self._max_watchers = max_watchers
        self.watchers = 0
        """Who watches now."""
        self.expired = dict.fromkeys((each.value for each in Verdict), 0)
        """How often this node has acted on a silence, by what it came to."""

    # -- the life of a process

    async def initialize(
        self, name: str, nonce: str, group: str, metadata: Mapping[str, str]
    ) -> tuple[Process, Token]:
        """Register a process; it replaces the entry of the same name and instance."""
        full = admitted(self._nonce, name, nonce)
        _check_text("name", name, MAX_NAME)
        if not name.strip():
            raise InvalidArgument("name: must not be empty")
        _check_text("group", group, MAX_NAME)
        _check_labels(metadata)
        process = Process(
            pid=str(uuid4()),
            name=name,
            group=group,
            metadata=dict(metadata),
            joined_ns=time.time_ns(),
        )
        token = self._tokens.issue(Claims(process.pid, name, full))
        await self.view.reach(await self._store.put(process.key, process.encode()))
        return process, token

    async def prove(self, pid: str, token: str) -> None:
        """Return if the process exists and the token is its own."""
        await self._tokens.verify(token, pid)
        await self._known(pid)

    async def renewed(self, pid: str, token: str) -> Token | None:
        """A token for one of a process of which half the time is over; None for any other."""
        with contextlib.suppress(Denied):
            await self._tokens.verify(token, pid)
            return await self._tokens.renewed(token)
        return None

    async def report(self, pid: str, details: Details) -> None:
        """A sign of life, and what the process says about itself."""
        _check_labels(details.metadata)
        _check_text("advertise_address", details.address, MAX_LABEL)
        if details.location and not all(map(math.isfinite, details.location)):
            raise InvalidArgument(f"location: must be two numbers, not {details.location}")
        await self._change(pid, lambda process: _updated(process, details))
        self._leases.beat(pid)

    async def finalize(self, pid: str) -> None:
        """Remove a process; removing what is gone succeeds."""
        for _ in range(_ATTEMPTS):
            await self.view.current()
            key = self._keys.get(pid)
            entry = self.view.get(key) if key else None
            if key is None or entry is None:
                return
            try:
                await self.view.reach(await self._store.delete(key, expected=entry.revision))
                return
            except Conflict:
                continue  # it changed meanwhile: look again, it may be another process by now
        raise Conflict(f"process {pid} changes too fast to be removed; try again", current=None)

    async def report_health(self, pid: str, health: int, observed_ns: int) -> bool:
        """What somebody else observed; False when the process is unknown, or it is old news."""
        taken = False

        def judge(process: Process) -> Process:
            nonlocal taken
            taken = observed_ns > process.observed_ns
            if not taken:
                return process
            return replace(process, observed_state=health, observed_ns=observed_ns)

        try:
            await self._change(pid, judge)
        except NotFound:
            return False
        return taken

    # -- reading

    async def query(self, wanted: Filter) -> list[Process]:
        """The processes that match, as of now."""
        await self.view.current()
        return self.processes(wanted)

    def processes(self, wanted: Filter) -> list[Process]:
        """The processes that match, as of the view's revision, by name and instance."""
        if wanted.pid is not None:
            key = self._keys.get(wanted.pid)
            candidates = [self._processes[key.kind][key]] if key else []
        elif wanted.name:
            candidates = list(self._processes.get(wanted.name, {}).values())
        else:
            candidates = [each for service in self._processes.values() for each in service.values()]
        found = [process for process in candidates if wanted.matches(process)]
        return sorted(found, key=lambda process: process.key)

    def by_state(self) -> Mapping[str, int]:
        """How many processes there are in each state."""
        names = {state.value: state.name.lower() for state in RunningState}
        found = dict.fromkeys(names.values(), 0)
        for service in self._processes.values():
            for process in service.values():
                found[names.get(process.running_state, "unknown")] += 1
        return found

    def heard_ns(self, process: Process) -> int:
        """When the process was last heard (nanoseconds since 1970), as far as this node knows."""
        return self._heard_ns.get(process.pid, process.joined_ns)

    async def watch(self, wanted: Filter) -> AsyncIterator[list[tuple[bool, Process]] | None]:
        """(alive, process) of those that match, then None, then every change, for ever.

        What does not match any more is told as not alive. Falling far behind starts over silently:
        the differences are told.
        """
        await self.view.current()
        if self.watchers >= self._max_watchers:
            raise Exhausted(too_many_watches(self.watchers, self._max_watchers))
        self.watchers += 1
        try:
            async with contextlib.aclosing(self._watched(wanted)) as events:
                async for told in events:
                    yield told
        finally:
            self.watchers -= 1

    async def _watched(
        self, wanted: Filter
    ) -> AsyncGenerator[list[tuple[bool, Process]] | None, None]:
        sent: dict[Key, Process] = {}
        synced = False
        while True:
            reached = self.view.revision
            current = {each.key: each for each in self.processes(wanted)}
            events: list[tuple[bool, Process]] = []
            for key in [key for key in sent if key not in current]:
                events += _told(sent, key, None)
            for key, process in current.items():
                events += _told(sent, key, process)
            if events:
                yield events
            if not synced:
                yield None
                synced = True
            try:
                while True:
                    changes = self.view.history.after(reached)
                    if not changes:
                        await self.view.changed()
                        continue
                    reached = changes[-1].revision
                    events = []
                    for change in changes:
                        after = _decoded(change)
                        if after is not None and not wanted.matches(after):
                            after = None
                        events += _told(sent, change.key, after)
                    if events:
                        yield events
            except Compacted:
                logger.info("a watcher of the registry fell behind; telling it the differences")

    # -- silence

    async def listen(self) -> None:
        """Hear every beat, for ever."""
        async with self._leases.beats() as beats:
            async for told in beats:
                now = time.monotonic()
                if told.opened:
                    self._liveness.restart(now)
                    self._wake.set()
                for pid, heard_ns in told.beats:
                    self._liveness.heard(pid, now)
                    if pid in self._keys:
                        self._heard_ns[pid] = heard_ns

    async def judge(self) -> None:
        """Act on silence, for ever."""
        while True:
            self._wake.clear()
            planned = self._liveness.next()
            wait = None if planned is None else max(0.0, planned - time.monotonic())
            try:
                # Not wait_for: in Python 3.11 it swallows a cancellation that comes with the event.
                async with asyncio.timeout(wait):
                    await self._wake.wait()
                continue
            except TimeoutError:
                now = time.monotonic()
            if planned is not None and now - planned > self._liveness.silent / 3:
                logger.warning("this process was held up; every lease starts anew")
                self._liveness.restart(now)
                continue
            for pid, verdict in self._liveness.due(now):
                try:
                    await self._execute(pid, verdict)
                except EngineError as error:
                    logger.info("process %s is %s, but: %s", pid, verdict.value, error)
                    self._liveness.repeat(pid, now)

    async def _execute(self, pid: str, verdict: Verdict) -> None:
        key = self._keys.get(pid)
        entry = self.view.get(key) if key else None
        if key is None or entry is None:
            self._liveness.forget(pid)
            return
        process = self._processes[key.kind][key]
        try:
            if verdict is Verdict.GONE:
                logger.warning("process %s of %s is gone", pid, process.name)
                await self._store.delete(key, expected=entry.revision)
                self.expired[verdict.value] += 1
            elif process.connected:
                logger.warning("process %s of %s is silent", pid, process.name)
                lost = replace(
                    process,
                    running_state=RunningState.DISCONNECTED,
                    health_state=HealthState.UNHEALTHY,
                )
                await self._store.put(key, lost.encode(), expected=entry.revision)
                self.expired[verdict.value] += 1
        except Conflict:
            pass  # somebody else judged it first, or it changed: then it is heard or judged again

    # -- inside

    async def alive(self, pid: str) -> None:
        """Return if a process is registered, which costs a look; `NotFound` if it is not."""
        if pid not in self._keys:
            await self._known(pid)

    async def _known(self, pid: str) -> Key:
        if pid not in self._keys:
            await self.view.current()
        key = self._keys.get(pid)
        if key is None:
            raise NotFound(f"process {pid} is not registered; initialize anew")
        return key

    async def _change(self, pid: str, change: Callable[[Process], Process]) -> None:
        """Write what `change` makes of the process, if it is anything new."""
        for _ in range(_ATTEMPTS):
            key = await self._known(pid)
            entry, process = self.view.get(key), self._processes[key.kind][key]
            changed = change(process)
            if changed == process or entry is None:
                return
            try:
                if changed.key != key:
                    raise InvalidArgument("metadata: draft.instance cannot change; initialize anew")
                revision = await self._store.put(key, changed.encode(), expected=entry.revision)
                await self.view.reach(revision)
                return
            except Conflict:
                await self.view.current()
        raise Conflict(f"process {pid} changes too fast; try again", current=None)

    def _applied(self, change: Change) -> None:
        service = self._processes.setdefault(change.key.kind, {})
        before = service.pop(change.key, None)
        after = _decoded(change)
        if before is not None and (after is None or after.pid != before.pid):
            del self._keys[before.pid]
            self._heard_ns.pop(before.pid, None)
            self._liveness.forget(before.pid)
        if after is not None:
            service[change.key] = after
            self._keys[after.pid] = change.key
            self._liveness.start(after.pid, time.monotonic())
            self._wake.set()


def _decoded(change: Change) -> Process | None:
    return Process.decode(change.entry.value) if change.entry else None


def _told(sent: dict[Key, Process], key: Key, after: Process | None) -> list[tuple[bool, Process]]:
    """The events that bring a watcher from what it was sent of a key to `after`."""
    before = sent.pop(key, None)
    events: list[tuple[bool, Process]] = []
    if before is not None and (after is None or after.pid != before.pid):
        events.append((False, before))
    if after is not None:
        sent[key] = after
        if after != before:
            events.append((True, after))
    return events


def _updated(process: Process, details: Details) -> Process:
    """The process as it says it is; a state that it does not name stays, unless it was lost."""
    lost = not process.connected
    metadata = {**process.metadata, **details.metadata}
    _check_labels(metadata)  # those of before stay, so that many beats could bring any number
    return replace(
        process,
        running_state=details.running_state
        or (RunningState.RUNNING if lost else process.running_state),
        health_state=details.health_state
        or (HealthState.HEALTHY if lost else process.health_state),
        observed_state=HealthState.UNKNOWN if lost else process.observed_state,
        process_kind=details.process_kind or process.process_kind,
        address=details.address or process.address,
        metadata=metadata,
        location=details.location or process.location,
    )


def _check_text(field: str, text: str, limit: int) -> None:
    if len(text.encode()) > limit:
        raise InvalidArgument(f"{field}: is longer than {limit} bytes")


def _check_labels(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_LABELS:
        raise InvalidArgument(f"metadata: holds {len(metadata)} labels, the limit is {MAX_LABELS}")
    for key, value in metadata.items():
        if not key:
            raise InvalidArgument("metadata: a label needs a key")
        _check_text(f"metadata[{key[:40]!r}]", key, MAX_LABEL)
        _check_text(f"metadata[{key[:40]!r}]", value, MAX_LABEL)
