"""The core parts: NATS, Blueprint, Catalyst, Fuse, Envoy, and the routes that expose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from dctl import __version__, bundled
from dctl.engine.catalogue.site import Program, Site, to_yaml
from dctl.hosts.base import Check, Kind, Resource
from dctl.hosts.routes import INGRESS, RouteSpec
from dctl.spec.core import Blueprint, Catalyst, Core, CorePart, Envoy, Fuse, Nats

PARTS = ("nats", "blueprint", "catalyst", "fuse", "envoy")
_DEFAULTS = Core()
_DEFAULT_FUSE = Fuse()
DEFAULT_PORTS = {
    name: part.listen.port
    for name in PARTS
    if isinstance(part := getattr(_DEFAULTS, name), Nats | Blueprint | Catalyst | Fuse | Envoy)
}

# gRPC packages of each core service: what `expose_core` routes at the ingress.
_PACKAGES = {
    "blueprint": ("/core.registry.", "/core.consensus."),
    "catalyst": ("/core.message_broker.",),
    "fuse": ("/core.control_plane.networking.",),
}


def core_parts(core: Core) -> dict[str, CorePart]:
    """The parts that the spec does not leave out, by name, in the order in which they start."""
    parts = {name: getattr(core, name) for name in PARTS}
    return {name: part for name, part in parts.items() if part is not False}


def core_resources(site: Site) -> Iterator[Resource]:
    """The core parts, then the routes that expose them."""
    build: Mapping[str, Any] = {
        "nats": _nats,
        "blueprint": _blueprint,
        "catalyst": _catalyst,
        "fuse": _fuse,
        "envoy": _envoy,
    }
    for name, part in core_parts(site.cluster.core).items():
        for instance in site.instances[name]:
            program = build[name](site, part, instance)
            yield site.place(part, name, instance, program)
    envoy = site.cluster.core.envoy
    if envoy is not False and envoy.expose_core:
        yield from _exposed(site)


def _nats(site: Site, part: Nats, instance: str) -> Program:
    client = site.port(instance, "client", part.listen)
    monitor = site.port(instance, "monitor", part.monitor)
    values = {
        "cluster": site.cluster.name,
        "name": instance,
        "listen": client.bind,
        "monitor": monitor.bind,
        "store": site.data(instance),
        "max_store": part.max_store,
        "max_memory": part.max_memory,
    }
    template = Path(__file__).with_name("nats.conf").read_text()
    return Program(
        argv=(site.binary("nats-server"), "--config", f"{site.files(instance)}/nats.conf"),
        files={"nats.conf": Template(template).substitute(values)},
        ports={"client": client, "monitor": monitor},
        check=Check("http", f"http://{monitor.target}/healthz"),
        source=__version__,
        volumes={"data": site.data(instance)},
    )


def _blueprint(site: Site, part: Blueprint, instance: str) -> Program:
    settings = {"nats": _engine(site), "nonce": site.nonce or "any"}
    return _chassis(site, part, "blueprint", instance, settings)


def _catalyst(site: Site, part: Catalyst, instance: str) -> Program:
    settings: dict[str, Any] = {"nats": _engine(site)}
    if (nats := site.cluster.core.nats) is not False:
        settings["max_store"] = nats.max_store // 2  # the rest is for keys and processes
    return _chassis(site, part, "catalyst", instance, settings)


def _fuse(site: Site, part: Fuse, instance: str) -> Program:
    settings = {}
    if (envoy := site.cluster.core.envoy) is not False:
        settings["listen"] = str(site.port("envoy-1", "ingress", envoy.listen).bind)
    return _chassis(site, part, "fuse", instance, settings)


def _chassis(
    site: Site,
    part: Blueprint | Catalyst | Fuse,
    name: str,
    instance: str,
    settings: Mapping[str, Any],
) -> Program:
    grpc = site.port(instance, "grpc", part.listen)
    # They wait for each other with a back-off of their own; starting them side by side makes the
    # cluster stand sooner, and apply still waits for the health of each.
    needs = {"nats": "started"}
    if name != "blueprint":
        needs["blueprint"] = "started"
    return Program(
        argv=site.module(f"draft_services.{name}"),
        env=site.bootstrap(name, instance, grpc),
        files={"config.yaml": to_yaml({name: {**settings, **part.config}})},
        ports={"grpc": grpc},
        check=Check("grpc", str(grpc.target)),
        needs=needs,
        source=__version__,
    )


def _envoy(site: Site, part: Envoy, instance: str) -> Program:
    ingress = site.port(instance, "ingress", part.listen)
    admin = site.port(instance, "admin", part.admin)
    fuse = site.cluster.core.fuse
    listen = fuse.listen if fuse is not False else _DEFAULT_FUSE.listen
    xds = site.port("fuse-1", "grpc", listen).call
    values = {
        "cluster": site.cluster.name,
        "node_id": instance,
        "admin_address": admin.bind.host,
        "admin_port": admin.bind.port,
        "xds_address": xds.host,
        "xds_port": xds.port,
    }
    template = (bundled.folder("envoy_templates") / "envoy.yaml").read_text()
    return Program(
        # One worker is plenty for a laptop; each costs memory for its own connection pools.
        argv=(
            site.binary("envoy"),
            "--config-path",
            f"{site.files(instance)}/envoy.yaml",
            "--log-level",
            "warning",
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
        ),
        files={"envoy.yaml": Template(template).substitute(values)},
        ports={"ingress": ingress, "admin": admin},
        check=Check("http", f"http://{admin.target}/ready"),
        needs={"fuse": "started"},
        source=__version__,
    )


def _exposed(site: Site) -> Iterator[Resource]:
    for service, prefixes in _PACKAGES.items():
        if service not in site.instances:
            continue
        for number, prefix in enumerate(prefixes, 1):
            spec = RouteSpec(prefix=prefix, service=service, http2=True)
            yield route(site, service, number, spec)


def route(site: Site, service: str, number: int, spec: RouteSpec) -> Resource:
    """The `number`-th route that the spec declares for `service`."""
    return Resource(
        kind=Kind.ROUTE,
        name=f"spec/{service}/{number}",
        host=INGRESS,
        service=service,
        spec=spec.to_json(),
        needs=site.needs({"blueprint": "healthy", "fuse": "healthy"}),
    )


def _engine(site: Site) -> str:
    nats = site.cluster.core.nats
    if nats is False:
        return "nats://127.0.0.1:4222"
    return ",".join(
        f"nats://{site.port(instance, 'client', nats.listen).call}"
        for instance in site.instances["nats"]
    )
