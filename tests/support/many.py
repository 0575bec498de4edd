"""A cluster of as many machines as wanted: what travels to them and back is made up, all else is
real."""

from __future__ import annotations

import itertools
import json
import shlex
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from dctl.engine.catalogue.ground import Ground
from dctl.engine.desired import desired
from dctl.engine.hosts import Hosts
from dctl.engine.plan import Plan, make_plan
from dctl.engine.ports import PortBook
from dctl.hosts.base import Kind, Resource, nobody
from dctl.hosts.passive import NoSecrets
from dctl.hosts.ssh import Fleet
from dctl.hosts.ssh.fleet import Answer
from dctl.hosts.systemd import Layout
from dctl.hosts.systemd.software import Software, core_software, run_software
from dctl.hosts.systemd.unit import env_text, unit_text
from dctl.spec import load

NAME = "many"
AT = Layout(NAME)
FACTS = {"python": "3.11", "machine": "x86_64", "glibc": 36}


@dataclass
class FakeFleet:
    """Answers what an agent would, after `latency` seconds."""

    latency: float = 0.0
    things: dict[str, list[Any]] = field(default_factory=dict)
    software: list[Software] = field(default_factory=list)
    _ports: Iterable[int] = field(default_factory=lambda: itertools.count(20_000))

    def run(self, host: str, command: str, **_: Any) -> Answer:
        time.sleep(self.latency)
        verb = shlex.split(command)[-2]
        answers = {"observe": self._observe, "free_port": self._free_port, "machines": _none}
        answer = answers[verb](host)
        return Answer(0, json.dumps(answer), "")

    def hold(self, resources: Iterable[Resource]) -> None:
        """As if all of that had been carried out."""
        for resource in resources:
            if resource.kind is Kind.PROCESS:
                self.things.setdefault(resource.host, []).append(_told(resource))

    def _observe(self, host: str) -> Any:
        environments = [one.digest for top in self.software for one in top.chain()]
        facts = {**FACTS, "environments": environments}
        return {"facts": facts, "things": self.things.get(host, [])}

    def _free_port(self, host: str) -> int:
        return next(iter(self._ports))


class Many:
    """`hosts` machines, with a replica of a service on each, and the core on the first ones."""

    def __init__(self, folder: Path, hosts: int, *, latency: float = 0.0) -> None:
        service = folder / "services" / "greeter"
        service.mkdir(parents=True, exist_ok=True)
        (service / "main.py").write_text("print()\n")
        lines = [f"  h{n}: {{ssh: me@10.{n // 250}.{n % 250}.1}}" for n in range(hosts)]
        text = (
            f"apiVersion: draft/v1\nkind: Cluster\nname: {NAME}\nruntime: systemd\nhosts:\n"
            + "\n".join(lines)
            + "\ncore: {nats: {on: h0}, blueprint: {on: h0}, catalyst: {on: h0}, fuse: {on: h0},"
            " envoy: {on: h0}}\nservices:\n"
            + f"  greeter: {{run: services/greeter, replicas: {hosts}}}\n"
            + f"  job: {{command: [sleep, infinity], replicas: {hosts}}}\n"
        )
        (folder / "cluster.yaml").write_text(text)
        self.fleet = FakeFleet(latency)
        self._loaded = load(folder / "cluster.yaml", root=folder)

        self._service = service

    def carry_out(self, plan: Plan) -> None:
        """As if it had been applied."""
        self.fleet.hold(step.resource for step in plan.steps if step.resource)
        greeter = run_software(FACTS, self._service, cluster=NAME, service="greeter")
        self.fleet.software = [core_software(FACTS), greeter]

    def plan(self) -> Plan:
        """From a spec that is loaded to what would be done."""
        fleet = cast(Fleet, self.fleet)

        class FakeHosts(Hosts):
            _fleet = fleet

        hosts = FakeHosts(self._loaded, lambda _: None, NoSecrets(), lambda: "", nobody)
        sight = hosts.look()

        def free(host: str, address: str) -> int:
            return hosts.readers[host].free_port(address)

        sites = hosts.sites(PortBook(sight.things, free))
        ground = Ground(self._loaded.cluster, self._loaded.root, sites)
        return make_plan(NAME, [*hosts.resources(), *desired(ground)], sight)


def _told(resource: Resource) -> Any:
    manifest = {
        "name": resource.name,
        "service": resource.service,
        "needs": [need.resource for need in resource.needs],
        "ports": {port: [e.host, e.port] for port, e in resource.ports.items()},
        "spec": resource.spec,
        "digest": resource.digest,
        "held": False,
    }
    return {
        "name": resource.name,
        "unit": unit_text(AT, resource.name, manifest),
        "asked": manifest,
        "running": manifest,
        "env": env_text(resource.spec["env"]),
        "files": {},
        "ended": "",
        "over": False,
        "told": False,
        "age": 100.0,
        "show": {"ActiveState": "active", "MainPID": "7", "NRestarts": "0"},
    }


def _none(_: str) -> Any:
    return {}
