"""From the spec to the resources that it asks for, in a fixed order.

Pure but for what it has to read: templates, the folders of services, and free ports through the
`PortBook`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dctl.engine.catalogue.core import core_parts, core_resources
from dctl.engine.catalogue.service import service_resources
from dctl.engine.catalogue.site import Site
from dctl.engine.ports import PortBook
from dctl.errors import SpecError
from dctl.hosts.base import Resource
from dctl.spec import Cluster


def desired(
    cluster: Cluster,
    *,
    root: Path,
    host: str,
    ports: PortBook,
    files: Callable[[str], Path],
    data: Callable[[str], Path],
    nonce: Path | None,
) -> list[Resource]:
    """Every resource of the cluster. Raises SpecError for what this version cannot run, all of
    it at once."""
    problems = list(_unsupported(cluster))
    if problems:
        raise SpecError(
            f"{len(problems)} problem{'s' if len(problems) > 1 else ''}; nothing was changed",
            problems=problems,
        )
    replicas = {name: part.replicas for name, part in core_parts(cluster.core).items()}
    replicas |= {name: service.replicas for name, service in cluster.services.items()}
    instances = {
        name: tuple(f"{name}-{number}" for number in range(1, count + 1))
        for name, count in replicas.items()
    }
    site = Site(cluster, root, host, ports, files, data, nonce, instances)
    resources = list(core_resources(site))
    for name, service in cluster.services.items():
        resources += service_resources(site, name, service)
    return resources


def _unsupported(cluster: Cluster) -> list[str]:
    """What the model allows and the process runtime on one machine cannot do, in words."""
    found = [
        f"hosts.{name}: only this machine can be a host as yet: leave ssh out"
        for name, host in cluster.hosts.items()
        if host.ssh
    ]
    runtimes = {"runtime": cluster.runtime}
    runtimes |= {f"hosts.{n}.runtime": h.runtime for n, h in cluster.hosts.items() if h.runtime}
    runtimes |= {
        f"services.{n}.runtime": s.runtime for n, s in cluster.services.items() if s.runtime
    }
    found += [
        f'{path}: only "process" runs as yet, not "{runtime}"'
        for path, runtime in runtimes.items()
        if runtime != "process"
    ]
    nats = cluster.core.nats
    if nats is not False and nats.replicas > 1:
        found.append("core.nats.replicas: one node as yet")
    found += [f"infra.{name}: backing services need a container runtime" for name in cluster.infra]
    for name, service in cluster.services.items():
        if service.image:
            found.append(f"services.{name}.image: images need a container runtime")
        found += [
            f"services.{name}.{key}: not on the process runtime as yet"
            for key in ("volumes", "files")
            if getattr(service, key)
        ]
        found += [
            f"services.{name}.env.{key}: secrets are not delivered as yet"
            for key, value in service.env.items()
            if value.startswith("secret://")
        ]
    if cluster.security.nonce not in (None, "any"):
        found.append("security.nonce: secrets are not delivered as yet; use any")
    if cluster.security.tls:
        found.append("security.tls: not as yet")
    return found
