"""The cluster as its parts see it: where each instance is, and how the others reach it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dctl.engine.catalogue.parts import parts, placed
from dctl.engine.catalogue.site import NONCE_VARIABLE, TLS_VARIABLE, Instance, Port, Program, Site
from dctl.hosts.base import Condition, Endpoint, Need, Resource
from dctl.spec import Cluster
from dctl.spec.types import LOOPBACK, Address
from dctl.spec.workload import Workload

STAND_IN = "next"
METRICS = "metrics"
"""The name of the port at which Prometheus scrapes."""


@dataclass(frozen=True)
class Ground:
    """A cluster, the site of each of its hosts, and the `epoch` of its engine's data."""

    cluster: Cluster
    root: Path
    sites: Mapping[str, Site]
    epoch: int = 0

    @functools.cached_property
    def parts(self) -> Mapping[str, Workload]:
        """All that is to run, by name."""
        return parts(self.cluster)

    @functools.cached_property
    def instances(self) -> Mapping[str, Mapping[str, str]]:
        """The replicas of each part, and the host of each."""
        return placed(self.cluster)

    def site(self, instance: str) -> Site:
        """The site of an instance. A stand-in is where the first replica is."""
        part, _, number = instance.rpartition("-")
        replica = f"{part}-1" if number == STAND_IN else instance
        return self.sites[self.instances[part][replica]]

    def port(self, instance: str, name: str, wish: Address, *, inner: bool = False) -> Port:
        """One port of an instance. Several on one host cannot have the same: only the first of
        them gets the number. What is `inner` is for its own host, whatever others there are."""
        site = self.site(instance)
        host = wish.host if wish.given or inner or not site.address else site.address
        number = wish.port if self._is_first(instance, site.host) else 0
        return site.port(instance, name, Endpoint(host, number), wish.target or wish.port)

    def place(self, service: str, instance: str, program: Program) -> Resource:
        """The resource that runs an instance of a part."""
        part = self.parts[service]
        needs = self.needs({**program.needs, **part.depends_on})
        return self.site(instance).place(Instance(instance, service, part, program, needs))

    def near(self, part: str, instance: str) -> str:
        """The instance of a part that another one should call: one on its own host, if any. ""
        when there is none at all."""
        there = self.instances.get(part, {})
        host = self.site(instance).host
        return next((name for name, its in there.items() if its == host), next(iter(there), ""))

    def needs(self, conditions: Mapping[str, str]) -> tuple[Need, ...]:
        """Conditions on parts as needs of their instances; parts that are left out drop out."""
        return tuple(
            Need(instance, Condition(condition))
            for part, condition in conditions.items()
            for instance in self.instances.get(part, ())
        )

    def scraped(self, wishes: Mapping[str, Address]) -> dict[str, Address]:
        """The ports of a chassis service, with one for metrics where those are wanted."""
        wanted = self.cluster.observability.metrics
        return (
            {**wishes, METRICS: wishes.get(METRICS, Address(LOOPBACK, 0))}
            if wanted
            else dict(wishes)
        )

    def identity(self, service: str, instance: str) -> dict[str, str]:
        """The variable that names an instance's key and certificate, where everything encrypts."""
        wanted = self.cluster.security.tls
        return {TLS_VARIABLE: self.site(instance).identity_of(service)} if wanted else {}

    def peer(self, service: str) -> str:
        """What a service proves to be to who calls it; "" where nothing encrypts."""
        return service if self.cluster.security.tls else ""

    def bootstrap(self, service: str, instance: str, ports: Mapping[str, Port]) -> dict[str, str]:
        """The environment that every chassis service reads."""
        grpc, metrics = ports.get("grpc"), ports.get(METRICS)
        site = self.site(instance)
        env = {
            "DRAFT_CONFIG": f"{site.files(instance)}/config.yaml",
            "DRAFT_INSTANCE": instance,
            "DRAFT_SERVICE_NAME": service,
            "PYTHONUNBUFFERED": "1",
            **self.identity(service, instance),
        }
        blueprint = self.cluster.core.blueprint
        if blueprint is not False and (chosen := self.near("blueprint", instance)):
            env["DRAFT_SERVICE_ENTRYPOINT"] = str(self.port(chosen, "grpc", blueprint.listen).call)
        if nonce := site.nonce_of(service):
            env[NONCE_VARIABLE] = nonce
        if self.cluster.security.calls == "token":
            env["DRAFT_DRAFT_CALLS"] = "token"
        if grpc is not None:
            env |= {
                "DRAFT_SERVICE_NETWORK_BIND_ADDRESS": grpc.bind.host,
                "DRAFT_SERVICE_NETWORK_BIND_PORT": str(grpc.bind.port),
                "DRAFT_SERVICE_NETWORK_INTERNAL_HOST": grpc.call.host,
                "DRAFT_SERVICE_NETWORK_INTERNAL_PORT": str(grpc.call.port),
            }
        if metrics is not None and self.cluster.observability.metrics:
            env |= {
                "DRAFT_DRAFT_METRICS_PORT": str(metrics.bind.port),
                "DRAFT_DRAFT_METRICS_ADDRESS": str(metrics.call),
            }
        return env

    def _is_first(self, instance: str, host: str) -> bool:
        return self._first.get((instance.rpartition("-")[0], host)) == instance

    @functools.cached_property
    def _first(self) -> Mapping[tuple[str, str], str]:
        """The first instance of a part on a host."""
        found: dict[tuple[str, str], str] = {}
        for part, instances in self.instances.items():
            for instance, host in instances.items():
                found.setdefault((part, host), instance)
        return found
