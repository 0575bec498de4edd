"""A user's own service: a Python folder of the workspace, or any command."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dctl.engine.catalogue.backing import read
from dctl.engine.catalogue.core import engine_urls, route
from dctl.engine.catalogue.ground import STAND_IN, Ground
from dctl.engine.catalogue.site import Port, Program, health_check, to_yaml
from dctl.errors import SpecError
from dctl.hosts.base import Resource
from dctl.hosts.routes import RouteSpec
from dctl.sources import source_digest
from dctl.spec.types import Address
from dctl.spec.workload import Health, Route, Service


def service_resources(ground: Ground, name: str, service: Service) -> Iterator[Resource]:
    """Its replicas, then its routes."""
    replicas = {i: _replica(ground, name, service, i) for i in ground.instances[name]}
    stand_in = _stand_in(ground, name, service)
    for instance, program in replicas.items():
        replica = ground.place(name, instance, program)
        if stand_in and replica.rollout:
            rollout = dataclasses.replace(replica.rollout, stand_in=stand_in)
            replica = dataclasses.replace(replica, rollout=rollout)
        yield replica
    ports = [program.ports for program in replicas.values()]
    for number, asked in enumerate(service.routes, 1):
        yield route(ground, name, number, _route(name, service, asked, ports))


def _stand_in(ground: Ground, name: str, service: Service) -> Resource | None:
    """A further replica, for a service that is found through the registry and keeps nothing."""
    if service.update.order != "start-first" or not service.run or service.volumes:
        return None
    instance = f"{name}-{STAND_IN}"
    return ground.place(name, instance, _replica(ground, name, service, instance))


def _replica(ground: Ground, name: str, service: Service, instance: str) -> Program:
    wishes = dict(service.ports)
    if service.run and "grpc" not in wishes:
        wishes = {"grpc": Address("127.0.0.1", 0), **wishes}
    if service.run:
        wishes = ground.scraped(wishes)
    ports = {port: ground.port(instance, port, wish) for port, wish in wishes.items()}
    env = ground.bootstrap(name, instance, ports)
    for port, got in ports.items():
        env[f"DRAFT_PORT_{port.upper().replace('-', '_')}"] = str(got.bind.port)
    health = service.health or (Health(grpc=True) if service.run else None)
    nats = ground.cluster.core.nats
    if service.objects and nats is not False:
        env["DRAFT_OBJECTS"] = engine_urls(ground, nats)
        env["DRAFT_OBJECTS_FILE"] = ground.site(instance).objects_secret
        env["DRAFT_OBJECTS_BUCKET"] = name
    if service.group:
        env["DRAFT_SERVICE_GROUP"] = service.group
    folder = ground.root / service.run if service.run else None
    if folder:
        env["DRAFT_DATA"] = ground.site(instance).data(instance)
    return Program(
        argv=ground.site(instance).main(name, folder) if folder else service.command,
        env=env,
        files={"config.yaml": to_yaml(_merged(_config(folder), service.config))},
        ports=ports,
        check=health_check(health, ports, ground.peer(name) if folder else "") if health else None,
        needs={"blueprint": "healthy"},
        cwd=folder or ground.root,
        image=service.image or "",
        volumes=service.volumes,
        mounts={target: read(ground.root, source) for target, source in service.files.items()},
        source=source_digest(folder) if folder else "",
        objects=service.objects and nats is not False,
    )


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
    name: str, service: Service, asked: Route, replicas: Sequence[Mapping[str, Port]]
) -> RouteSpec:
    registered = service.run and (asked.port or "grpc") == "grpc"
    endpoints = []
    if not registered:
        port = asked.port or next(iter(service.ports), "")
        endpoints = [str(ports[port].call) for ports in replicas if port in ports]
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
