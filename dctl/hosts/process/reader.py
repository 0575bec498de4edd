"""The looking face of this machine's processes: nothing here changes anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dctl.errors import NotFoundError
from dctl.hosts import ports
from dctl.hosts.base import Check, Endpoint, Identify, Observed, PortOwner, Probe, nobody
from dctl.hosts.process import delivered, logs
from dctl.hosts.process.layout import Layout
from dctl.hosts.process.observed import observed
from dctl.hosts.process.supervisor import Supervisor
from dctl.hosts.state.files import read_json
from dctl.hosts.state.folder import state_dir
from dctl.hosts.state.owner import Owner


class ProcessReader:
    """Observe the processes of `cluster`, as the checkout at `workspace` sees them."""

    def __init__(
        self, cluster: str, *, workspace: Path, host: str = "local", own: Identify = nobody
    ) -> None:
        self.name = host
        self._own = own
        self._cluster = cluster
        self._layout = Layout(state_dir(cluster))
        self._owner = Owner(self._layout, cluster, workspace)
        self._supervisor = Supervisor(self._layout, host)

    def observe(self) -> Sequence[Observed]:
        self._owner.refuse_another_checkout()
        infos = self._supervisor.processes() or {}
        # After supervisor's word, so that what a restart changes in between is seen.
        asked = self._supervisor.manifests()
        return [
            self._with_delivered(
                observed(
                    name,
                    asked.get(name),
                    read_json(self._layout.running(name)),
                    read_json(self._layout.ended(name)),
                    infos.get(name),
                    host=self.name,
                    owner=self._cluster,
                )
            )
            for name in sorted(asked.keys() | infos.keys())
        ]

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return ports.owner(endpoint)

    def free_port(self, address: str) -> int:
        return ports.free(address)

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return ports.reachable(endpoint)

    def probe(self, check: Check) -> Probe:
        from dctl.hosts import checks  # here, for a plan probes nothing

        return checks.probe(check, self._own)

    def given(self, name: str) -> Mapping[str, str]:
        return delivered.read(self._layout, name)

    def _with_delivered(self, seen: Observed) -> Observed:
        """A secret that is no longer there counts as not given: memory does not outlive a start
        of the machine."""
        if seen.spec is None or not (digests := seen.spec.get("digests")):
            return seen
        left = {
            secret: digest
            for secret, digest in digests.items()
            if delivered.there(self._layout, seen.name, secret)
        }
        return dataclasses.replace(seen, spec={**seen.spec, "digests": left})

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        path = self._layout.log(name)
        if not path.exists() and not self._layout.manifest(name).exists():
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        return logs.follow(path, lines) if follow else iter(logs.tail(path, lines))
