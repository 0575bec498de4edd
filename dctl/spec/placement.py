"""Where workloads run: on which hosts, under which runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dctl.spec.types import LOCAL, LOOPBACK, Runtime, Selector

if TYPE_CHECKING:
    from dctl.spec.model import Cluster, Host


def hosts_of(cluster: Cluster) -> Mapping[str, Host]:
    """The machines of a cluster, in the order of the spec. One without hosts lives on this
    machine."""
    from dctl.spec.model import Host

    return cluster.hosts or {LOCAL: Host()}


def runtime_on(host: str, cluster: Cluster) -> Runtime:
    """How a host runs what is placed there. On another machine systemd supervises processes."""
    machine = hosts_of(cluster)[host]
    chosen = machine.runtime or cluster.runtime
    return "systemd" if chosen == "process" and machine.ssh else chosen


def hosts_for(on: Selector | None, cluster: Cluster) -> list[str]:
    """The hosts that `on` selects (None: any), in the order of the spec. Never empty for what a
    loaded spec says: loading refuses that."""
    return [
        name
        for name, host in hosts_of(cluster).items()
        if on is None or on.matches(name, host.labels)
    ]


def address_of(host: str, cluster: Cluster) -> str:
    """Where the other hosts of a cluster reach one; "" when it has no others."""
    machines = hosts_of(cluster)
    if len(machines) == 1:
        return ""
    machine = machines[host]
    return machine.address or (machine.ssh.host if machine.ssh else LOOPBACK)
