"""What the model allows and this version cannot carry out. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from dctl.engine.catalogue.parts import core_parts, known
from dctl.spec import Cluster
from dctl.spec.placement import hosts_for, hosts_of, runtime_on
from dctl.spec.problems import Path
from dctl.spec.workload import Service, Workload


def unsupported(cluster: Cluster) -> Iterator[tuple[Path, str]]:
    """The keys to what cannot be carried out, and why."""
    yield from _hosts(cluster)
    for path, part in _workloads(cluster):
        yield from _runtime(cluster, path, part)
    for name, backing in cluster.infra.items():
        if _runtimes(cluster, backing) != {"docker"}:
            yield ("infra", name), "backing services need `runtime: docker`"
        elif backing.source and backing.source not in known():
            entries = ", ".join(known())
            yield ("infra", name, "from"), f'no entry "{backing.source}"; there are: {entries}'
    for name, service in cluster.services.items():
        yield from _service(cluster, ("services", name), service)


def _hosts(cluster: Cluster) -> Iterator[tuple[Path, str]]:
    here = ""
    for name, host in hosts_of(cluster).items():
        path: Path = ("hosts", name) if cluster.hosts else ()
        if host.ssh is None:
            if runtime_on(name, cluster) == "systemd":
                where: Path = (*path, "runtime") if host.runtime else ("runtime",)
                yield where, "systemd is for hosts that are reached by ssh: use process here"
            if here:
                yield path, f"is this machine, and so is {here}"
            here = here or name
        if len(cluster.hosts) > 1 and not host.address and not _is_address(host.ssh):
            yield path, "needs the address that the other hosts use: address: 10.0.0.21"


def _is_address(ssh: object) -> bool:
    try:
        ipaddress.ip_address(getattr(ssh, "host", ""))
    except ValueError:
        return False
    return True


def _service(cluster: Cluster, path: Path, service: Service) -> Iterator[tuple[Path, str]]:
    runtimes = _runtimes(cluster, service)
    if service.image and runtimes != {"docker"}:
        yield (*path, "image"), "images need `runtime: docker`"
    if service.command and "docker" in runtimes:
        yield (*path, "command"), "a container needs `run` or `image`"
    for port, wish in service.ports.items():
        if service.image and not wish.port:
            yield (*path, "ports", port), "name the port that the image listens on"
    for key in ("volumes", "files"):
        if getattr(service, key) and runtimes != {"docker"}:
            yield (*path, key), "needs `runtime: docker`"


def _runtime(cluster: Cluster, path: Path, part: Workload) -> Iterator[tuple[Path, str]]:
    for host in hosts_for(part.on, cluster):
        there = runtime_on(host, cluster)
        if part.runtime not in (None, there):
            yield (*path, "runtime"), f'it may be placed on {host}, and its runtime is "{there}"'
            break
    if "process" in _runtimes(cluster, part):
        for key in ("memory", "cpus"):
            if getattr(part.resources, key) is not None:
                yield (*path, "resources", key), "limits need `runtime: docker` or `systemd`"


def _runtimes(cluster: Cluster, part: Workload) -> set[str]:
    return {runtime_on(host, cluster) for host in hosts_for(part.on, cluster)}


def _workloads(cluster: Cluster) -> Iterator[tuple[Path, Workload]]:
    for name, part in core_parts(cluster.core).items():
        yield ("core", name), part
    for name, backing in cluster.infra.items():
        yield ("infra", name), backing
    for name, service in cluster.services.items():
        yield ("services", name), service
