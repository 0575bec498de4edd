"""From the spec to the resources that it asks for, in a fixed order.

Pure but for what it has to read: templates, the folders of services, and free ports through the
`PortBook`.
"""

from __future__ import annotations

from collections.abc import Iterator

from dctl.engine.catalogue.backing import backing_resource, known
from dctl.engine.catalogue.core import core_parts, core_resources
from dctl.engine.catalogue.service import service_resources
from dctl.engine.catalogue.site import Site
from dctl.hosts.base import Resource
from dctl.spec import Cluster
from dctl.spec.problems import Path
from dctl.spec.workload import Workload


def desired(site: Site) -> list[Resource]:
    """Every resource of the site's cluster, which `unsupported` had nothing to say against."""
    resources = list(core_resources(site))
    for name, backing in site.cluster.infra.items():
        resources.append(backing_resource(site, name, backing))
    for name, service in site.cluster.services.items():
        resources += service_resources(site, name, service)
    return resources


def instances(cluster: Cluster) -> dict[str, tuple[str, ...]]:
    """The names of the replicas of every part."""
    replicas = {name: part.replicas for name, part in core_parts(cluster.core).items()}
    replicas |= {name: service.replicas for name, service in cluster.services.items()}
    replicas |= dict.fromkeys(cluster.infra, 1)
    return {
        name: tuple(f"{name}-{number}" for number in range(1, count + 1))
        for name, count in replicas.items()
    }


def unsupported(cluster: Cluster) -> Iterator[tuple[Path, str]]:
    """What the model allows and this version cannot carry out: the keys to it, and why."""
    for name, host in cluster.hosts.items():
        if host.ssh:
            yield ("hosts", name, "ssh"), "only this machine can be a host as yet"
        if host.variables:
            yield ("hosts", name, "variables"), "not as yet"
    yield from _runtimes(cluster)
    nats = cluster.core.nats
    if nats is not False and nats.replicas > 1:
        yield ("core", "nats", "replicas"), "one node as yet"
    in_docker = cluster.runtime == "docker"
    for name, backing in cluster.infra.items():
        if not in_docker:
            yield ("infra", name), "backing services need `runtime: docker`"
        elif backing.source and backing.source not in known():
            entries = ", ".join(known())
            yield ("infra", name, "from"), f'no entry "{backing.source}"; there are: {entries}'
    for name, service in cluster.services.items():
        path: Path = ("services", name)
        if service.image and not in_docker:
            yield (*path, "image"), "images need `runtime: docker`"
        if service.command and in_docker:
            yield (*path, "command"), "a container needs `run` or `image`"
        for port, wish in service.ports.items():
            if service.image and not wish.port:
                yield (*path, "ports", port), "name the port that the image listens on"
        for key in ("volumes", "files"):
            if getattr(service, key) and not in_docker:
                yield (*path, key), "needs `runtime: docker`"
        for key, value in service.env.items():
            if value.startswith("secret://"):
                yield (*path, "env", key), "secrets are not delivered as yet"
    if not in_docker:
        for path, part in _workloads(cluster):
            for key in ("memory", "cpus"):
                if getattr(part.resources, key) is not None:
                    yield (*path, "resources", key), "limits need `runtime: docker`"
    if cluster.security.nonce not in (None, "any"):
        yield ("security", "nonce"), "secrets are not delivered as yet: use any, or leave it out"
    if cluster.security.tls:
        yield ("security", "tls"), "not as yet"


def _workloads(cluster: Cluster) -> Iterator[tuple[Path, Workload]]:
    for name, part in core_parts(cluster.core).items():
        yield ("core", name), part
    for name, service in cluster.services.items():
        yield ("services", name), service


def _runtimes(cluster: Cluster) -> Iterator[tuple[Path, str]]:
    if cluster.runtime not in ("process", "docker"):
        yield ("runtime",), f'"process" and "docker" run as yet, not "{cluster.runtime}"'
    chosen: list[tuple[Path, str | None]] = [
        (("hosts", name, "runtime"), host.runtime) for name, host in cluster.hosts.items()
    ]
    chosen += [((*path, "runtime"), part.runtime) for path, part in _workloads(cluster)]
    for path, runtime in chosen:
        if runtime not in (None, cluster.runtime):
            yield path, f'one runtime for all of a cluster as yet: "{cluster.runtime}"'
