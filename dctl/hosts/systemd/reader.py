"""The looking face of a machine under systemd: nothing here changes anything."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dctl.errors import DctlError, NotFoundError
from dctl.hosts.base import Check, Endpoint, Identify, Observed, PortOwner, Probe, nobody
from dctl.hosts.ports import reachable
from dctl.hosts.ssh import Fleet
from dctl.hosts.systemd.ask import Agent
from dctl.hosts.systemd.layout import Layout
from dctl.hosts.systemd.observed import observed

_PATIENCE = 30.0  # seconds, for what takes some milliseconds


class SystemdReader:
    """Observe the processes of `cluster` on the machine `host` of a fleet."""

    def __init__(self, cluster: str, *, fleet: Fleet, host: str, own: Identify = nobody) -> None:
        self.name = host
        self._own = own
        self._cluster = cluster
        self._fleet = fleet
        self._layout = Layout(cluster)
        self._agent = Agent(fleet, host, self._layout)
        self._facts: Mapping[str, Any] | None = None

    def observe(self) -> Sequence[Observed]:
        told = self._agent.ask("observe", what="the look at what runs")
        self._facts = told["facts"]
        now = time.time()
        found = (observed(self._layout, one, host=self.name, now=now) for one in told["things"])
        return sorted((one for one in found if one), key=lambda one: one.name)

    @property
    def known(self) -> bool:
        """Whether the machine has answered yet."""
        return self._facts is not None

    def facts(self) -> Mapping[str, Any]:
        """What is true of the machine: `python` ("3.11"), `machine` ("x86_64"), `glibc` (36),
        `environments` (what stands in /opt/draft). As the last look has seen it."""
        if self._facts is None:
            self.observe()
        assert self._facts is not None
        return self._facts

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        found = self._agent.ask("port_owner", {"host": endpoint.host, "port": endpoint.port})
        return PortOwner(found[0], found[1]) if found else None

    def free_port(self, address: str) -> int:
        port = self._agent.ask("free_port", {"host": address})
        if not port:
            raise DctlError(f"no port is free on {address} of {self.name}")
        return int(port)

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return self._fleet.tunnel(self.name).port(reachable(endpoint))

    def probe(self, check: Check) -> Probe:
        try:
            if check.type in ("tcp", "exec"):
                return self._probe_there(check)
            return self._probe_here(check)
        except DctlError as error:
            return Probe(False, error.message)

    def given(self, name: str) -> Mapping[str, str]:
        return dict(self._agent.ask("given", {"name": name}))

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        if all(one.name != name for one in self.observe()):
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        # Only what the unit's processes print, not what systemd says of them.
        command = ["journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(lines)]
        command += [f"_SYSTEMD_UNIT={self._layout.unit(name)}", "_TRANSPORT=stdout"]
        line = shlex.join(command)
        if follow:
            return self._fleet.tunnel(self.name).lines(f"{self._agent.sudo}{line} --follow")
        answer = self._fleet.run(self.name, line, what=f"the log of {name}", timeout=_PATIENCE)
        return iter(answer.out.splitlines())

    def _probe_there(self, check: Check) -> Probe:
        why = self._agent.ask(
            "probe",
            {
                "type": check.type,
                "target": check.target,
                "argv": list(check.argv),
                "seconds": check.timeout,
            },
            timeout=check.timeout + _PATIENCE,
        )
        return Probe(not why, why)

    def _probe_here(self, check: Check) -> Probe:
        """Through a tunnel; what is said names the place there."""
        from dctl.hosts import checks  # here, for a plan probes nothing

        url = urlsplit(check.target if check.type == "http" else f"//{check.target}")
        default = 443 if url.scheme == "https" else 80
        there = Endpoint(url.hostname or "", url.port or default)
        here = str(self._fleet.tunnel(self.name).port(there))
        target = here if check.type == "grpc" else urlunsplit(url._replace(netloc=here))
        answer = checks.probe(dataclasses.replace(check, target=target), self._own)
        why = answer.reason.replace(here, str(there))
        # ssh takes the connection here, and drops it when nobody takes it there.
        if any(words in why for words in ("reset by peer", "Socket closed", "without response")):
            why = f"{there} refused the connection"
        return dataclasses.replace(answer, reason=why)
