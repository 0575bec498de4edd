"""The core parts: NATS, Blueprint, Catalyst, Fuse, Envoy, and the routes that expose them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import Template
from typing import Any

from dctl import __version__, bundled
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.parts import core_parts, engine_hosts
from dctl.engine.catalogue.site import TLS_VARIABLE, Port, Program, to_yaml
from dctl.engine.growth import EPOCH
from dctl.hosts.base import Check, Endpoint, Kind, Resource
from dctl.hosts.routes import INGRESS, RouteSpec
from dctl.spec import Cluster
from dctl.spec.core import Blueprint, Catalyst, Envoy, Fuse, Nats

_DEFAULT_FUSE = Fuse()
# A node of several ends as a lame duck: it hands over what it leads before it goes.
_LAME_DUCK = "USR2"

# gRPC packages of each core service: what `expose_core` routes at the ingress.
_PACKAGES = {
    "blueprint": ("/core.registry.", "/core.consensus."),
    "catalyst": ("/core.message_broker.",),
    "fuse": ("/core.control_plane.networking.",),
}


def core_resources(ground: Ground) -> Iterator[Resource]:
    """The core parts, then the routes that expose them."""
    build: Mapping[str, Any] = {
        "nats": _nats,
        "blueprint": _blueprint,
        "catalyst": _catalyst,
        "fuse": _fuse,
        "envoy": _envoy,
    }
    for name, part in core_parts(ground.cluster.core).items():
        for instance in ground.instances[name]:
            yield ground.place(name, instance, build[name](ground, part, instance))
    envoy = ground.cluster.core.envoy
    if envoy is not False and envoy.expose_core:
        yield from _exposed(ground)


def _nats(ground: Ground, part: Nats, instance: str) -> Program:
    site = ground.site(instance)
    client = ground.port(instance, "client", part.listen)
    monitor = ground.port(instance, "monitor", part.monitor, inner=True)
    identity = ground.identity("nats", instance)
    tls = _engine_tls(ground, identity[TLS_VARIABLE]) if identity else ""
    values = {
        "cluster": ground.cluster.name,
        "name": site.named(instance),
        "listen": client.bind,
        "monitor": monitor.bind,
        "store": f"{site.data(instance)}{f'/{ground.epoch}' if ground.epoch else ''}",
        "max_store": part.max_store,
        "max_memory": part.max_memory,
        "cluster_of": "",
        "tls": tls,
        # Relative to the configuration: the only way in which NATS includes a file.
        "secret": os.path.relpath(site.engine_secret, site.files(instance)),
        **_objects(ground, instance),
    }
    ports = {"client": client, "monitor": monitor}
    if part.replicas > 1:
        ports["cluster"] = ground.port(instance, "cluster", part.cluster)
        values["cluster_of"] = _cluster_of(ground, part, ports["cluster"], tls)
    return Program(
        env={**({EPOCH: str(ground.epoch)} if ground.epoch else {}), **identity},
        argv=(site.binary("nats-server"), "--config", f"{site.files(instance)}/nats.conf"),
        files={"nats.conf": Template(_text("nats.conf")).substitute(values)},
        ports=ports,
        check=Check("http", f"http://{monitor.target}/healthz"),
        source=__version__,
        volumes={"data": site.data(instance)},
        engine=True,
        objects=bool(values["objects_user"]),
        stop_signal=_LAME_DUCK if part.replicas > 1 else "TERM",
    )


def _objects(ground: Ground, instance: str) -> dict[str, str]:
    """The parts of a node's configuration that let services keep objects, each in a bucket of its
    own name. Their user may do that and nothing else: not even hear what others are answered."""
    buckets = buckets_of(ground.cluster)
    if not buckets:
        return {"objects_include": "", "objects_user": ""}
    site = ground.site(instance)
    file = os.path.relpath(site.objects_secret, site.files(instance))
    return {"objects_include": f'include "{file}"\n', "objects_user": f", {objects_user(buckets)}"}


def buckets_of(cluster: Cluster) -> list[str]:
    """The services that keep objects."""
    return [name for name, service in cluster.services.items() if service.objects]


def objects_user(buckets: Iterable[str]) -> str:
    """The user of those who keep objects, in words of a node's configuration."""
    may = [subject.format(bucket=bucket) for bucket in buckets for subject in _OBJECT_SUBJECTS]
    publish = ", ".join(f'"{subject}"' for subject in may)
    rights = f'publish: [{publish}], subscribe: ["_OBJECTS.>"]'
    return f"{{user: objects, password: $objects, permissions: {{{rights}}}}}"


# Of JetStream's API, what concerns the stream of one bucket, but to make it: Blueprint does that,
# for a stream may be made as a copy of any other one. And its pieces and names.
_OBJECT_SUBJECTS = (
    "$JS.API.STREAM.INFO.OBJ_{bucket}",
    "$JS.API.STREAM.PURGE.OBJ_{bucket}",
    "$JS.API.DIRECT.GET.OBJ_{bucket}.>",
    "$O.{bucket}.>",
)


def engine_urls(ground: Ground, nats: Nats) -> str:
    """Where the nodes of the engine are, with commas between them."""
    nodes = (ground.port(node, "client", nats.listen).call for node in ground.instances["nats"])
    return ",".join(f"nats://{node}" for node in nodes)


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text()


def _engine_tls(ground: Ground, identity: str) -> str:
    """The part of a node's configuration by which it encrypts, for its clients and for others of
    its sort. It names what is in the certificate: when that changes, nodes are to read it anew."""
    known = ", ".join(engine_hosts(ground.cluster))
    return Template(_text("nats-tls.conf")).substitute(identity=identity, known=known)


def _cluster_of(ground: Ground, part: Nats, own: Port, tls: str) -> str:
    """The part of a node's configuration that makes it one of several."""
    routes = (
        ground.port(other, "cluster", part.cluster).call for other in ground.instances["nats"]
    )
    return Template(_text("nats-cluster.conf")).substitute(
        name=ground.cluster.name,
        tls=tls,
        listen=own.bind,
        routes=", ".join(f'"nats-route://{route}"' for route in routes),
    )


def _blueprint(ground: Ground, part: Blueprint, instance: str) -> Program:
    nonce = ground.site(instance).nonce or "any"
    settings = {**_engine(ground, instance), "nonce": nonce, **_access(ground.cluster)}
    if (nats := ground.cluster.core.nats) is not False:
        # Half is for events. What is left lets removals and processes go on when keys are full.
        settings["max_store"] = nats.max_store * 3 // 8
        if buckets := buckets_of(ground.cluster):  # half of what is left, in equal parts
            settings["objects"] = dict.fromkeys(buckets, nats.max_store // 16 // len(buckets))
    return _chassis(ground, part, "blueprint", instance, settings)


def _access(cluster: Cluster) -> dict[str, Any]:
    """Settings of Blueprint on who may do what; what is as by default is left out."""
    security = cluster.security
    permissions = {
        name: service.permissions.model_dump(exclude_none=True)
        for name, service in cluster.services.items()
        if service.permissions
    }
    wanted = {
        "calls": "" if security.calls == "any" else security.calls,
        "permissions": permissions,
        "rate": security.rate,
        "audit": security.audit,
    }
    return {key: value for key, value in wanted.items() if value}


def _catalyst(ground: Ground, part: Catalyst, instance: str) -> Program:
    settings = _engine(ground, instance)
    if (nats := ground.cluster.core.nats) is not False:
        settings["max_store"] = nats.max_store // 2
    return _chassis(ground, part, "catalyst", instance, settings)


def _fuse(ground: Ground, part: Fuse, instance: str) -> Program:
    settings = {}
    if (envoy := ground.cluster.core.envoy) is not False:
        settings["listen"] = str(ground.port("envoy-1", "ingress", envoy.listen, inner=True).bind)
    return _chassis(ground, part, "fuse", instance, settings)


def _chassis(
    ground: Ground,
    part: Blueprint | Catalyst | Fuse,
    name: str,
    instance: str,
    settings: Mapping[str, Any],
) -> Program:
    wishes = ground.scraped({"grpc": part.listen})
    ports = {port: ground.port(instance, port, wish) for port, wish in wishes.items()}
    # They wait for each other with a back-off of their own; starting them side by side makes the
    # cluster stand sooner, and apply still waits for the health of each.
    needs = {"nats": "started"}
    if name != "blueprint":
        needs["blueprint"] = "started"
    return Program(
        argv=ground.site(instance).module(f"draft_services.{name}"),
        env=ground.bootstrap(name, instance, ports),
        files={"config.yaml": to_yaml({name: {**settings, **part.config}})},
        ports=ports,
        check=Check("grpc", str(ports["grpc"].target), service=ground.peer(name)),
        needs=needs,
        source=__version__,
        engine="engine" in settings,
    )


def _envoy(ground: Ground, part: Envoy, instance: str) -> Program:
    site = ground.site(instance)
    ingress = ground.port(instance, "ingress", part.listen, inner=True)
    admin = ground.port(instance, "admin", part.admin, inner=True)
    xds = _control_plane(ground, instance)
    values = {
        "cluster": ground.cluster.name,
        "node_id": instance,
        "admin_address": admin.bind.host,
        "admin_port": admin.bind.port,
        "xds_address": xds.host,
        "xds_port": xds.port,
        "secrets": "[]",
        "xds_security": "",
    }
    if identity := ground.identity("envoy", instance):
        values |= _proxy_security(identity[TLS_VARIABLE])
    template = (bundled.folder("envoy_templates") / "envoy.yaml").read_text()
    return Program(
        # One worker is plenty for a laptop; each costs memory for its own connection pools.
        env=ground.identity("envoy", instance),
        argv=(
            site.binary("envoy"),
            "--config-path",
            f"{site.files(instance)}/envoy.yaml",
            "--log-level",
            "warning",
            "--concurrency",
            "1",
            # It would leave shared memory behind, and nobody restarts it that way.
            "--disable-hot-restart",
        ),
        files={"envoy.yaml": Template(template).substitute(values)},
        ports={"ingress": ingress, "admin": admin},
        check=Check("http", f"http://{admin.target}/ready"),
        needs={"fuse": "started"},
        source=__version__,
    )


def _proxy_security(identity: str) -> dict[str, str]:
    """What the bootstrap of a proxy gets whose key and certificates are in that file."""
    from ruamel.yaml import YAML

    template = (bundled.folder("envoy_templates") / "tls.yaml").read_text()
    found = YAML(typ="safe").load(Template(template).substitute(identity=identity))
    # JSON is YAML, on one line.
    return {
        "secrets": json.dumps(found["secrets"]),
        "xds_security": f"      transport_socket: {json.dumps(found['transport_socket'])}\n",
    }


def _exposed(ground: Ground) -> Iterator[Resource]:
    for service, prefixes in _PACKAGES.items():
        if service not in ground.instances:
            continue
        for number, prefix in enumerate(prefixes, 1):
            spec = RouteSpec(prefix=prefix, service=service, http2=True)
            yield route(ground, service, number, spec)


def route(ground: Ground, service: str, number: int, spec: RouteSpec) -> Resource:
    """The `number`-th route that the spec declares for `service`."""
    return Resource(
        kind=Kind.ROUTE,
        name=f"spec/{service}/{number}",
        host=INGRESS,
        service=service,
        spec=spec.to_json(),
        needs=ground.needs({"blueprint": "healthy", "fuse": "healthy"}),
    )


def _control_plane(ground: Ground, instance: str) -> Endpoint:
    """Where an Envoy finds Fuse."""
    fuse = ground.cluster.core.fuse
    if fuse is False:  # somebody else's, where ours would be
        return Endpoint(_DEFAULT_FUSE.listen.host, _DEFAULT_FUSE.listen.port)
    return ground.port(ground.near("fuse", instance), "grpc", fuse.listen).call


def _engine(ground: Ground, instance: str) -> dict[str, Any]:
    """Settings of a part that speaks to the engine: where it is, and the file of its password."""
    nats = ground.cluster.core.nats
    if nats is False:
        return {"nats": "nats://127.0.0.1:4222"}
    epoch = {"epoch": ground.epoch} if ground.epoch else {}
    return {
        **epoch,
        "nats": engine_urls(ground, nats),
        "engine": ground.site(instance).engine_secret,
    }
