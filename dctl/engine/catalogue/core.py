"""The core parts: NATS, Blueprint, Catalyst, Fuse, Envoy, and the routes that expose them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from dctl import __version__, bundled
from dctl.engine.catalogue.site import (
    Site,
    bootstrap,
    process,
    python,
    reachable,
    to_yaml,
)
from dctl.hosts.base import Check, Kind, Resource
from dctl.hosts.routes import INGRESS, RouteSpec
from dctl.spec.core import Blueprint, Catalyst, Core, CorePart, Envoy, Fuse, Nats

PARTS = ("nats", "blueprint", "catalyst", "fuse", "envoy")
_DEFAULTS = Core()
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
    """The processes of the core, then the routes that expose it."""
    build: Mapping[str, Any] = {
        "nats": _nats,
        "blueprint": _blueprint,
        "catalyst": _catalyst,
        "fuse": _fuse,
        "envoy": _envoy,
    }
    for name, part in core_parts(site.cluster.core).items():
        for instance in site.instances[name]:
            yield build[name](site, part, instance)
    envoy = site.cluster.core.envoy
    if envoy is not False and envoy.expose_core:
        yield from _exposed(site)


def _nats(site: Site, part: Nats, instance: str) -> Resource:
    listen = site.listen(instance, "client", part.listen)
    monitor = site.listen(instance, "monitor", part.monitor)
    conf = site.files(instance) / "nats.conf"
    values = {
        "cluster": site.cluster.name,
        "name": instance,
        "listen": listen,
        "monitor": monitor,
        "store": site.data(instance),
        "max_store": part.max_store,
        "max_memory": part.max_memory,
    }
    template = Path(__file__).with_name("nats.conf").read_text()
    return process(
        site,
        part,
        service="nats",
        instance=instance,
        argv=(str(bundled.nats_server()), "--config", str(conf)),
        files={"nats.conf": Template(template).substitute(values)},
        ports={"client": (part.listen, listen), "monitor": (part.monitor, monitor)},
        check=Check("http", f"http://{reachable(monitor)}/healthz"),
        needs={},
        source=__version__,
    )


def _blueprint(site: Site, part: Blueprint, instance: str) -> Resource:
    settings = {"nats": _engine(site), "nonce": str(site.nonce or "any")}
    return _chassis(site, part, "blueprint", instance, settings)


def _catalyst(site: Site, part: Catalyst, instance: str) -> Resource:
    settings: dict[str, Any] = {"nats": _engine(site)}
    if (nats := site.cluster.core.nats) is not False:
        settings["max_store"] = nats.max_store // 2  # the rest is for keys and processes
    return _chassis(site, part, "catalyst", instance, settings)


def _fuse(site: Site, part: Fuse, instance: str) -> Resource:
    settings = {}
    if (envoy := site.cluster.core.envoy) is not False:
        settings["listen"] = str(site.listen("envoy-1", "ingress", envoy.listen))
    return _chassis(site, part, "fuse", instance, settings)


def _chassis(
    site: Site,
    part: Blueprint | Catalyst | Fuse,
    name: str,
    instance: str,
    settings: Mapping[str, Any],
) -> Resource:
    grpc = site.listen(instance, "grpc", part.listen)
    needs = {"blueprint": {"nats": "started"}}.get(
        name, {"nats": "started", "blueprint": "started"}
    )
    return process(
        site,
        part,
        service=name,
        instance=instance,
        argv=python("-m", f"draft_services.{name}"),
        env=bootstrap(site, service=name, instance=instance, grpc=grpc),
        files={"config.yaml": to_yaml({name: {**settings, **part.config}})},
        ports={"grpc": (part.listen, grpc)},
        check=Check("grpc", str(reachable(grpc))),
        # They wait for each other with a back-off of their own; starting them side by side
        # makes the cluster stand sooner, and apply still waits for the health of each.
        needs=needs,
        source=__version__,
    )


def _envoy(site: Site, part: Envoy, instance: str) -> Resource:
    ingress = site.listen(instance, "ingress", part.listen)
    admin = site.listen(instance, "admin", part.admin)
    fuse = site.cluster.core.fuse
    xds = reachable(site.listen("fuse-1", "grpc", fuse.listen)) if fuse is not False else None
    values = {
        "cluster": site.cluster.name,
        "node_id": instance,
        "admin_address": admin.host,
        "admin_port": admin.port,
        "xds_address": xds.host if xds else "127.0.0.1",
        "xds_port": xds.port if xds else DEFAULT_PORTS["fuse"],
    }
    template = (bundled.folder("envoy_templates") / "envoy.yaml").read_text()
    conf = site.files(instance) / "envoy.yaml"
    return process(
        site,
        part,
        service="envoy",
        instance=instance,
        # One worker is plenty for a laptop; each costs memory for its own connection pools.
        argv=(
            str(bundled.envoy()),
            "--config-path",
            str(conf),
            "--log-level",
            "warning",
            "--concurrency",
            "1",
            "--use-dynamic-base-id",
        ),
        files={"envoy.yaml": Template(template).substitute(values)},
        ports={"ingress": (part.listen, ingress), "admin": (part.admin, admin)},
        check=Check("http", f"http://{reachable(admin)}/ready"),
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
        f"nats://{reachable(site.listen(instance, 'client', nats.listen))}"
        for instance in site.instances["nats"]
    )
