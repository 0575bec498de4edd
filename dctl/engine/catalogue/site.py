"""What a part may know of the cluster around it, and how a process is put together."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctl.engine.ports import PortBook
from dctl.hosts.base import Check, Condition, Endpoint, Kind, Need, Resource
from dctl.hosts.process import ProcessSpec
from dctl.spec import Cluster
from dctl.spec.types import Address
from dctl.spec.workload import Health, Workload

ANYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True)
class Site:
    """The place that parts are built for: one host of one cluster.

    `files(name)` and `data(name)` are the folders of an instance on that host: what dctl writes
    there, and what the instance keeps. `nonce` is the file of the cluster's secret, None where any
    nonce is accepted. `instances` tells the instances of every part by its name.
    """

    cluster: Cluster
    root: Path
    host: str
    ports: PortBook
    files: Callable[[str], Path]
    data: Callable[[str], Path]
    nonce: Path | None
    instances: Mapping[str, tuple[str, ...]]

    def listen(self, instance: str, port: str, wish: Address) -> Endpoint:
        """Where one port of an instance listens. Only the first replica gets a wished number."""
        first = instance.endswith("-1")
        return self.ports.take(instance, port, Endpoint(wish.host, wish.port if first else 0))

    def blueprint(self) -> str:
        """Where services find Blueprint: host:port, "" when the cluster has none."""
        part = self.cluster.core.blueprint
        if part is False:
            return ""
        return str(reachable(self.listen("blueprint-1", "grpc", part.listen)))

    def needs(self, conditions: Mapping[str, str]) -> tuple[Need, ...]:
        """Conditions on parts as needs of their instances; parts that are left out drop out."""
        return tuple(
            Need(instance, Condition(condition))
            for part, condition in conditions.items()
            for instance in self.instances.get(part, ())
        )


def reachable(endpoint: Endpoint) -> Endpoint:
    """The address to call for something that listens there."""
    return Endpoint("127.0.0.1", endpoint.port) if endpoint.host in ANYWHERE else endpoint


def process(
    site: Site,
    part: Workload,
    *,
    service: str,
    instance: str,
    argv: Sequence[str],
    ports: Mapping[str, tuple[Address, Endpoint]],
    check: Check | None,
    needs: Mapping[str, str],
    env: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    source: str = "",
) -> Resource:
    """One process resource. `ports` gives each port's wish and the endpoint that it got."""
    first = instance.endswith("-1")
    spec = ProcessSpec(
        argv=tuple(argv),
        env={**(env or {}), **part.env},
        files=files or {},
        cwd=str(cwd or site.data(instance)),
        source=source,
        restart=part.restart.when,
        backoff=(part.restart.backoff.low, part.restart.backoff.high),
        stop_timeout=part.grace,
        ports={
            name: str(Endpoint(wish.host, wish.port if first else 0))
            for name, (wish, _) in ports.items()
        },
    )
    return Resource(
        kind=Kind.PROCESS,
        name=instance,
        host=site.host,
        service=service,
        spec=spec.to_json(),
        ports={name: endpoint for name, (_, endpoint) in ports.items()},
        needs=site.needs({**needs, **part.depends_on}),
        check=check,
    )


def python(*arguments: str, interpreter: Path | None = None) -> tuple[str, ...]:
    """A command line of Python: dctl's own, or the given interpreter. -P keeps the working
    folder out of the import path, so that a user's `services/` never shadows ours."""
    return (str(interpreter or sys.executable), "-P", *arguments)


def bootstrap(site: Site, *, service: str, instance: str, grpc: Endpoint | None) -> dict[str, str]:
    """The environment that every chassis service reads."""
    env = {
        "DRAFT_CONFIG": str(site.files(instance) / "config.yaml"),
        "DRAFT_INSTANCE": instance,
        "DRAFT_SERVICE_NAME": service,
        "PYTHONUNBUFFERED": "1",
    }
    if blueprint := site.blueprint():
        env["DRAFT_SERVICE_ENTRYPOINT"] = blueprint
    if site.nonce is not None:
        env["DRAFT_NONCE_FILE"] = str(site.nonce)
    if grpc is not None:
        advertised = reachable(grpc)
        env |= {
            "DRAFT_SERVICE_NETWORK_BIND_ADDRESS": grpc.host,
            "DRAFT_SERVICE_NETWORK_BIND_PORT": str(grpc.port),
            "DRAFT_SERVICE_NETWORK_INTERNAL_HOST": advertised.host,
            "DRAFT_SERVICE_NETWORK_INTERNAL_PORT": str(advertised.port),
        }
    return env


def health_check(health: Health, ports: Mapping[str, Endpoint]) -> Check | None:
    """The spec's `health` on the ports that an instance got."""
    timing: dict[str, Any] = {
        "interval": health.interval,
        "timeout": health.timeout,
        "retries": health.retries,
        "start": health.start,
    }
    if health.exec:
        return Check("exec", argv=health.exec, **timing)
    named = health.port or next(iter(ports), "")
    if named not in ports:
        return None
    target = reachable(ports[named])
    if health.http:
        return Check("http", f"http://{target}{health.http}", **timing)
    return Check("grpc" if health.grpc else "tcp", str(target), **timing)


def to_yaml(document: Mapping[str, Any]) -> str:
    """A configuration file's text; keys keep their order."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    text = io.StringIO()
    yaml.dump(_plain(document), text)
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    for kind in (bool, int, float, str):  # drops what subclasses remember of their writing
        if isinstance(value, kind):
            return kind(value)
    return value
