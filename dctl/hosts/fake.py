"""A host in memory, for tests of what decides over hosts.

The suite in tests/integration/test_host_contract.py runs against this one and the real ones
alike, so it behaves as they do. What it is told to do badly (`broken`, `silent`, `crashing`,
`ill`) is for tests of failure.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from dctl.errors import DctlError, LockedError, NotFoundError, UnreachableError
from dctl.hosts.base import (
    Check,
    Endpoint,
    Holder,
    Json,
    Kind,
    Lease,
    Observed,
    PortOwner,
    Probe,
    Resource,
    Secrets,
    State,
)
from dctl.hosts.passive import NoSecrets


class FakeHost:
    """Reader and Host of one cluster, all in memory; `calls` lists each change in order."""

    secrets: Secrets = NoSecrets()

    def __init__(self, cluster: str, name: str = "local") -> None:
        self.name = name
        self.calls: list[str] = []
        self.owners: dict[int, PortOwner] = {}
        self.broken: dict[str, str] = {}  # name -> why ensure, start, stop or remove fails
        self.silent = ""  # why it does not answer
        self.crashing: set[str] = set()  # names that end right after every start
        self.ill: set[str] = set()  # check targets that answer badly
        self.kept: dict[str, str] = {}
        self.delivered: dict[str, dict[str, str]] = {}
        self.exits: dict[str, int] = {}  # name -> what a command beside it ends with
        self._cluster = cluster
        self._things: dict[str, Observed] = {}
        self._journal: list[Mapping[str, Json]] = []
        self._releases: list[Mapping[str, Json]] = []
        self._machines: Mapping[str, Json] = {}
        self._lock = threading.Lock()
        self._lease: _Lease | None = None
        self._next_port = 40_000

    # Looking

    def observe(self) -> Sequence[Observed]:
        self._answer()
        for name in self.crashing & self._things.keys():
            seen = self._things[name]
            self._things[name] = dataclasses.replace(
                seen, state=State.STARTING, restarts=seen.restarts + 1, last_exit="exit status 1"
            )
        return [self._things[name] for name in sorted(self._things)]

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return self.owners.get(endpoint.port)

    def free_port(self, address: str) -> int:
        self._next_port += 1
        return self._next_port

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return endpoint

    def probe(self, check: Check) -> Probe:
        if check.target in self.ill:
            return Probe(False, f"{check.target} refused the connection")
        return Probe(True)

    def given(self, name: str) -> Mapping[str, str]:
        return self.delivered.get(name, {})

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        yield from [f"{name} says {i}" for i in range(lines)][-lines:]

    # Changing

    def ensure(self, resource: Resource) -> None:
        self._call("ensure", resource.name)
        self._deliver(resource)
        self._things[resource.name] = Observed(
            kind=resource.kind,
            name=resource.name,
            host=self.name,
            state=State.RUNNING,
            owner=self._cluster,
            service=resource.service,
            spec=resource.spec,
            ports=resource.ports,
            needs=tuple(need.resource for need in resource.needs),
        )

    def start(self, name: str) -> None:
        self._set("start", name, State.RUNNING)

    def stop(self, name: str) -> None:
        self._set("stop", name, State.HELD)

    def restart(self, name: str) -> None:
        self._set("restart", name, State.RUNNING)

    def remove(self, name: str) -> None:
        self._call("remove", name)
        self._things.pop(name, None)
        self.delivered.pop(name, None)

    def keep_secret(self, name: str, text: str = "") -> None:
        self.kept[name] = text or self.kept.get(name) or f"{name} of {self.name}"

    def secret(self, name: str) -> str:
        return self.kept.get(name, "")

    def execute(self, name: str, argv: Sequence[str]) -> int:
        if name not in self._things:
            raise NotFoundError(f"{name} is not on {self.name}")
        self.calls.append(f"execute {name} {' '.join(argv)}")
        return self.exits.get(name, 0)

    @contextmanager
    def lock(self, holder: str) -> Iterator[Lease]:
        with self._lock:
            if self._lease:
                raise LockedError(
                    f"{self._lease.holder.name} is applying to cluster {self._cluster}"
                )
            lease = self._lease = _Lease(Holder(holder, 0, time.time(), 0.0))
        try:
            yield lease
        finally:
            if self._lease is lease:
                self._lease = None

    def holder(self) -> Holder | None:
        return self._lease.holder if self._lease else None

    def break_lock(self) -> None:
        if self._lease:
            self._lease.taken, self._lease = True, None

    def record(self, entry: Mapping[str, Json]) -> None:
        self._journal.append(dict(entry))

    def journal(self) -> Sequence[Mapping[str, Json]]:
        return list(self._journal)

    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._releases = [*self._releases, dict(release)][-10:]

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return list(self._releases)

    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        self._machines = dict(notes)

    def machines(self) -> Mapping[str, Json]:
        return self._machines

    def down(self) -> None:
        for name, seen in self._things.items():
            self._things[name] = dataclasses.replace(seen, state=State.STOPPED)

    def clean(self, *, full: bool) -> None:
        self._things.clear()
        if full:
            self._journal.clear()
            self._releases.clear()
            self._machines = {}

    # For tests: what happens behind dctl's back

    def foreign(self, name: str, kind: Kind = Kind.PROCESS) -> None:
        """Somebody else's thing under this name."""
        self._things[name] = Observed(kind, name, self.name, State.RUNNING, owner="")

    def crash(self, name: str, last_exit: str = "killed by SIGKILL") -> None:
        """It ended, and nobody brought it back."""
        self._things[name] = dataclasses.replace(
            self._things[name], state=State.STOPPED, last_exit=last_exit
        )

    def _deliver(self, resource: Resource) -> None:
        before = self._things.get(resource.name)
        had = (before.spec or {}).get("digests") or {} if before else {}
        for secret, text in self.given(resource.name).items():
            self.secrets.remember(secret, had[secret], text)
        wanted = resource.spec.get("digests") or {}
        self.delivered[resource.name] = {n: self.secrets.text(n, d) for n, d in wanted.items()}

    def _set(self, verb: str, name: str, state: State) -> None:
        self._call(verb, name)
        if name not in self._things:
            raise NotFoundError(f"{name} is not on {self.name}")
        self._things[name] = dataclasses.replace(self._things[name], state=state)

    def _answer(self) -> None:
        if self.silent:
            raise UnreachableError(f"{self.name}: {self.silent}")

    def _call(self, verb: str, name: str) -> None:
        self._answer()
        self.calls.append(f"{verb} {name}")
        if name in self.broken:
            raise DctlError(self.broken[name])


class _Lease:
    def __init__(self, holder: Holder) -> None:
        self.holder = holder
        self.taken = False

    def lost(self) -> str:
        return "its lock was taken away" if self.taken else ""
