"""All hosts of a cluster: what looks at them and what changes them, and the way to its parts."""

from __future__ import annotations

import atexit
import functools
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from dctl.clients import Way
from dctl.engine.catalogue.parts import placed
from dctl.engine.catalogue.site import Site, encrypts
from dctl.engine.departed import Departed, notes
from dctl.engine.ports import PortBook
from dctl.engine.runtimes import Restored, Runtime, Say, runtimes_of
from dctl.engine.sight import Sight, look
from dctl.errors import UnreachableError
from dctl.hosts.base import (
    RUNNING_KINDS,
    Host,
    Identify,
    Json,
    Observed,
    Reader,
    Resource,
    Secrets,
    State,
)
from dctl.hosts.routes import INGRESS, RouteHost, RouteReader
from dctl.spec import Loaded

if TYPE_CHECKING:
    from dctl.hosts.ssh import Fleet

UP = (State.RUNNING, State.STARTING)


class Hosts:
    """The hosts of a spec, in its order, each under its runtime; and the ingress."""

    def __init__(
        self, loaded: Loaded, say: Say, secrets: Secrets, proof: Callable[[], str], own: Identify
    ) -> None:
        self._proof, self._own = proof, own
        self._spec, self._root, self._source = loaded.cluster, loaded.root, loaded.path
        self._departed = Departed(loaded, say, secrets, lambda: self._fleet)
        self._runtimes: Mapping[str, Runtime] = runtimes_of(
            loaded, say, lambda: self._fleet, secrets, own
        )

    @property
    def readers(self) -> Mapping[str, Reader]:
        """By name, the looking face only; with those of the hosts that have left the spec, once
        they were looked at."""
        return ChainMap(self._readers, self._departed.readers)

    @property
    def changing(self) -> Mapping[str, Host]:
        """The same, with the verbs that change something."""
        return ChainMap(self._changing, self._departed.hosts)

    @property
    def notes(self) -> Mapping[str, Json]:
        """How they are reached, for the cluster's books."""
        return notes(self._spec, self._root)

    @functools.cached_property
    def _readers(self) -> dict[str, Reader]:
        own = {reader.name: reader for readers in self._looking.values() for reader in readers}
        return {**own, INGRESS: RouteReader(self._spec.name, self._fuse)}

    @functools.cached_property
    def _changing(self) -> dict[str, Host]:
        ingress = RouteHost(self._spec.name, self._fuse)
        hosts = [runtime.hosts() for runtime in self._runtimes.values()]
        return {**{name: host for each in hosts for name, host in each.items()}, INGRESS: ingress}

    @property
    def machines(self) -> Sequence[Host]:
        """Those that things run on, the first one first: it keeps the cluster's lock and books."""
        return [self._changing[name] for name in self._runtimes]

    def sites(self, ports: PortBook) -> Mapping[str, Site]:
        """The place on each that parts are built for."""
        return {host: runtime.site(ports) for host, runtime in self._runtimes.items()}

    def resources(self) -> list[Resource]:
        """What they need besides the parts."""
        return [r for runtime in self._runtimes.values() for r in runtime.resources()]

    def look(self) -> Sight:
        """All but the routes, also on hosts that have left the spec. Raises UnreachableError
        without the first host."""
        return self.look_here() + self._departed.look(self.machines[0])

    def look_here(self) -> Sight:
        """The same, on the hosts of the spec."""
        sight = look(self._looking)
        if error := sight.silent.get(next(iter(self._runtimes))):
            raise error
        return sight

    def _fuse(self) -> Way:
        return self.way("fuse")

    def routes(self, sight: Sight) -> RouteReader:
        """The ingress as it is reached when that was seen."""

        def fuse() -> Way:
            if found := self._way("fuse", sight.things):
                return found
            raise UnreachableError(f"Fuse of cluster {self._spec.name} is not there")

        return RouteReader(self._spec.name, fuse)

    def way(self, part: str) -> Way:
        """How a core part of this cluster that is up is reached from here. Raises UnreachableError
        without one: what listens where it would is another cluster's then."""
        self.warm(part)
        why = "is not there"
        for host in dict.fromkeys(placed(self._spec).get(part, {}).values()):
            sight = look({host: [self._looking[host][0]]})
            if found := self._way(part, sight.things):
                return found
            states = [seen.state for seen in sight.things if seen.service == part]
            why = next((f"is {state}" for state in states), why)
            why = next((error.message for error in sight.silent.values()), why)
        raise UnreachableError(
            f"{part.capitalize()} of cluster {self._spec.name} {why}", hint="dctl infra status"
        )

    def warm(self, part: str) -> None:
        """Open the way to a part that will be called, while its host is looked at."""
        host = next(iter(placed(self._spec).get(part, {}).values()), "")
        if host in self._spec.hosts and self._spec.hosts[host].ssh:
            self._fleet.tunnel(host).warm()

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """What can be had again of what was asked for once; what is no host's stays as it is."""
        found: list[Restored] = []
        left = list(resources)
        for name, runtime in self._runtimes.items():
            own = {reader.name for reader in self._looking[name]}
            found.append(runtime.restored([r for r in left if r.host in own]))
            left = [r for r in left if r.host not in own]
        gone = {r.host for r in left if r.kind in RUNNING_KINDS}
        return Restored(
            (*(r for each in found for r in each.resources), *left),
            tuple(dict.fromkeys(words for each in found for words in each.otherwise)),
            (
                *(words for each in found for words in each.lacking),
                *(f"{host} is no longer a host of {self._source}" for host in sorted(gone)),
            ),
        )

    def let_go(self, needed: Sequence[Resource]) -> None:
        """Remove old things to run from, but what `needed` runs from."""
        for runtime in self._runtimes.values():
            runtime.let_go(needed)

    @functools.cached_property
    def _looking(self) -> Mapping[str, Sequence[Reader]]:
        return {name: [*runtime.readers().values()] for name, runtime in self._runtimes.items()}

    @functools.cached_property
    def _fleet(self) -> Fleet:
        from dctl.hosts.ssh import Fleet
        from dctl.hosts.ssh.target import targets, with_jumps

        machines = targets(self._spec.hosts, self._root)
        fleet = Fleet(with_jumps(machines, {target.name: target for target in machines}))
        # At the end of dctl: an address that was handed out is one of its tunnels.
        atexit.register(fleet.close)
        fleet.warm()
        return fleet

    def _way(self, part: str, things: Iterable[Observed]) -> Way | None:
        """To a part as it runs, which may not be what is asked for now."""
        for seen in things:
            its = seen.service == part and seen.kind in RUNNING_KINDS
            if its and seen.state in UP and seen.ports:
                address = self.readers[seen.host].reach(next(iter(seen.ports.values())))
                own = self._own() if encrypts(seen.spec) else None
                return Way(str(address), self._proof(), own.to(part) if own else None)
        return None
