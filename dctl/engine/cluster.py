"""A cluster spec opened: the hosts it lives on, what is there, and where its core parts listen."""

from __future__ import annotations

import functools
import getpass
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from dctl.engine.apply import Event, Result
from dctl.engine.apply import apply as carry_out
from dctl.engine.desired import desired, unsupported
from dctl.engine.plan import Plan, make_plan
from dctl.engine.ports import PortBook
from dctl.engine.runtimes import LOCAL, NONCE, Say, runtime_of
from dctl.engine.status import Row, status
from dctl.errors import NotFoundError, UnreachableError, WaitTimeoutError
from dctl.hosts.base import Host, Kind, Observed, Probe, Reader, Resource, State
from dctl.hosts.routes import INGRESS, RouteHost, RouteReader
from dctl.spec import Loaded
from dctl.spec.variant import Variant
from dctl.workspace import load_spec

_UP = (State.RUNNING, State.STARTING)
Verb = Literal["start", "stop", "restart"]
_RUNNING = (Kind.PROCESS, Kind.CONTAINER)


def open_cluster(
    file: Path | None = None, variant: Variant | None = None, *, say: Say = lambda _: None
) -> OpenCluster:
    """Load and check the spec (`file`, else the nearest draft.yaml's) and get ready to look.

    `say` hears of long work, such as building images. Raises SpecError with every problem,
    NotFoundError without any spec. Touches nothing.
    """
    loaded = load_spec(file, variant)
    loaded.refuse(unsupported(loaded.cluster))
    return OpenCluster(loaded, say)


class OpenCluster:
    """The spec at hand. Looking is free; `hosts()` alone gives out what can change something."""

    def __init__(self, loaded: Loaded, say: Say) -> None:
        self.spec = loaded.cluster
        self.name = loaded.cluster.name
        self.source = loaded.path
        self.root = loaded.root
        self._runtime = runtime_of(loaded, say)

    @functools.cached_property
    def readers(self) -> Mapping[str, Reader]:
        """Every host by name, its looking face only."""
        return {
            **self._runtime.readers(),
            INGRESS: RouteReader(self.name, lambda: self.address("fuse")),
        }

    def hosts(self) -> Mapping[str, Host]:
        """Every host by name, with the verbs that change it."""
        return {
            **self._runtime.hosts(),
            INGRESS: RouteHost(self.name, lambda: self.address("fuse")),
        }

    def observe(self) -> list[Observed]:
        """All that is there, by host and name."""
        return [seen for _, reader in sorted(self.readers.items()) for seen in reader.observe()]

    def resources(self, seen: list[Observed], *, port_offset: int | None = None) -> list[Resource]:
        """What the spec asks for, with the ports that it has or would get."""
        ports = PortBook(seen, self.readers[LOCAL].free_port, offset=port_offset)
        return [*self._runtime.resources(), *desired(self._runtime.site(ports))]

    def plan(self, *, port_offset: int | None = None) -> Plan:
        """Look and compare."""
        seen = self.observe()
        return make_plan(self.name, self.resources(seen, port_offset=port_offset), seen)

    def status(self) -> list[Row]:
        """Look, ask each running thing for its health, and compare. An ingress that does not answer
        hides its routes only."""
        seen: list[Observed] = []
        silent: dict[str, str] = {}
        for name, reader in sorted(self.readers.items()):
            try:
                seen += reader.observe()
            except (UnreachableError, WaitTimeoutError) as error:
                if name == LOCAL:  # without it there is nothing to tell
                    raise
                silent[name] = error.message
        asked = self.resources(seen)
        probes = self._probes(asked, seen)
        return status(self.name, asked, seen, probes, silent=silent, now=time.time())

    def address(self, part: str) -> str:
        """host:port of a core part of this cluster that is up. Raises UnreachableError without one:
        what listens where it would is another cluster's then."""
        first = f"{part}-1"
        seen = next((o for o in self.readers[LOCAL].observe() if o.name == first), None)
        if seen is None or not seen.ports or seen.state not in _UP:
            how = f"is {seen.state}" if seen else "is not there"
            raise UnreachableError(
                f"{part.capitalize()} of cluster {self.name} {how}", hint="dctl infra status"
            )
        return str(next(iter(seen.ports.values())))

    def apply(self, plan: Plan, *, on_event: Callable[[Event], None]) -> Result:
        """Carry `plan` out under the cluster's lock and keep a record of it."""
        hosts = self.hosts()
        first = hosts[LOCAL]
        with first.lock(who()):
            if self._makes_nonce:
                first.keep_secret(NONCE)
            if plan.changed:
                steps = [f"{step.verdict.action} {step.name}" for step in plan.changed]
                first.record(entry("apply", steps=steps))
            result = carry_out(plan, hosts, on_event=on_event)
            if plan.changed or not result.ok:
                first.record(entry("applied", **result.to_json()))
        return result

    def operate(self, verb: Verb, names: Sequence[str], say: Callable[[str], None]) -> None:
        """Start, stop or restart what `names` select (nothing named: all), under the lock."""
        chosen = [o for name in names for o in self.select(name)] if names else self._processes()
        host = self.hosts()[LOCAL]
        with host.lock(who()):
            for seen in reversed(chosen) if verb == "stop" else chosen:
                {"start": host.start, "stop": host.stop, "restart": host.restart}[verb](seen.name)
                say(seen.name)
            host.record(entry(verb, steps=[seen.name for seen in chosen]))

    def select(self, pattern: str) -> list[Observed]:
        """The running things that `pattern` names: an instance (cart-2), or a service's all."""
        things = self._processes()
        chosen = [o for o in things if pattern in (o.name, o.service)]
        if not chosen:
            names = ", ".join(sorted({o.service for o in things})) or "nothing is there yet"
            raise NotFoundError(
                f'"{pattern}" names no part of cluster {self.name}', hint=f"there are: {names}"
            )
        return chosen

    @property
    def _makes_nonce(self) -> bool:
        """The spec names no nonce: the cluster gets one of its own."""
        return self.spec.security.nonce is None

    def _processes(self) -> list[Observed]:
        return [
            o for o in self.readers[LOCAL].observe() if o.kind in (Kind.PROCESS, Kind.CONTAINER)
        ]

    def _probes(self, asked: list[Resource], seen: list[Observed]) -> dict[str, Probe]:
        running = {o.name for o in seen if o.state is State.RUNNING}
        checks = {r.name: r.check for r in asked if r.check and r.name in running}
        if not checks:
            return {}
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(self.readers[LOCAL].probe, checks.values())
            return dict(zip(checks, answers, strict=True))


def entry(event: str, **more: Any) -> dict[str, Any]:
    """A line of the journal: what was done, when (seconds since the epoch) and by whom."""
    return {"time": time.time(), "who": who(), "event": event, **more}


def who() -> str:
    """Who is at work here, as locks and journals name them."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
