"""A user's own service: a Python folder of the workspace, or any command."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dctl.engine.catalogue.core import route
from dctl.engine.catalogue.site import (
    Site,
    bootstrap,
    health_check,
    process,
    python,
    reachable,
    to_yaml,
)
from dctl.errors import SpecError
from dctl.hosts.base import Endpoint, Resource
from dctl.hosts.routes import RouteSpec
from dctl.spec.types import Address
from dctl.spec.workload import Health, Route, Service

# Not part of a service's code: what tools leave behind.
_SKIPPED = {"__pycache__", ".venv", "node_modules"}


def service_resources(site: Site, name: str, service: Service) -> Iterator[Resource]:
    """Its replicas, then its routes."""
    replicas = [_replica(site, name, service, instance) for instance in site.instances[name]]
    yield from replicas
    for number, asked in enumerate(service.routes, 1):
        endpoints = [dict(replica.ports) for replica in replicas]
        yield route(site, name, number, _route(name, service, asked, endpoints))


def _replica(site: Site, name: str, service: Service, instance: str) -> Resource:
    wishes = dict(service.ports)
    if service.run and "grpc" not in wishes:
        wishes = {"grpc": Address("127.0.0.1", 0), **wishes}
    ports = {port: (wish, site.listen(instance, port, wish)) for port, wish in wishes.items()}
    got = {port: endpoint for port, (_, endpoint) in ports.items()}
    env = bootstrap(site, service=name, instance=instance, grpc=got.get("grpc"))
    env |= {f"DRAFT_PORT_{port.upper().replace('-', '_')}": str(e.port) for port, e in got.items()}
    health = service.health or (Health(grpc=True) if service.run else None)
    if service.group:
        env["DRAFT_SERVICE_GROUP"] = service.group
    folder = site.root / service.run if service.run else None
    config = _config(folder)
    files = {"config.yaml": to_yaml(_merged(config, service.config))}
    return process(
        site,
        service,
        service=name,
        instance=instance,
        argv=_argv(folder) if folder else service.command,
        env=env,
        files=files,
        cwd=folder or site.root,
        ports=ports,
        check=health_check(health, got) if health else None,
        needs={"blueprint": "healthy"},
        source=source_digest(folder) if folder else "",
    )


def _argv(folder: Path) -> tuple[str, ...]:
    own = folder / ".venv" / "bin" / "python"
    return python(str(folder / "main.py"), interpreter=own if own.exists() else None)


def _config(folder: Path | None) -> Mapping[str, Any]:
    """The config.yaml that the service's folder brings along."""
    file = folder / "config.yaml" if folder else None
    if file is None or not file.is_file():
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(file)
    except (YAMLError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise SpecError(f"{file}: not a YAML file: {first}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise SpecError(f"{file}: must be a mapping of settings")
    return document


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` wins; mappings are merged key by key, anything else is replaced whole."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both and below is not None else value
    return merged


def _route(
    name: str, service: Service, asked: Route, replicas: list[dict[str, Endpoint]]
) -> RouteSpec:
    registered = service.run and (asked.port or "grpc") == "grpc"
    endpoints = []
    if not registered:
        port = asked.port or next(iter(service.ports), "")
        endpoints = [str(reachable(ports[port])) for ports in replicas if port in ports]
    return RouteSpec(
        prefix=asked.prefix,
        host=asked.host,
        headers=dict(asked.headers),
        grpc=asked.grpc,
        # Endpoints of what registers follow the registry; the rest are known from here.
        service=name if registered else "",
        endpoints=tuple(endpoints),
        http2=asked.http2,
        timeout=asked.timeout,
        retries=asked.retries,
        rewrite_prefix=asked.rewrite_prefix or "",
    )


def source_digest(folder: Path) -> str:
    """Changes when a file of the service's folder does: its name or its content."""
    digest = hashlib.sha256()
    for file in sorted(_files(folder)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(folder)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _SKIPPED or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry)
        elif entry.is_file():
            yield entry
