"""Which hosts a workload may be placed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dctl.spec.types import LOCAL, Selector

if TYPE_CHECKING:
    from dctl.spec.model import Cluster


def hosts_for(on: Selector | None, cluster: Cluster) -> list[str]:
    """The hosts that `on` selects (None: any), in the order of the spec. A cluster without hosts
    lives on this machine. Never empty for what a loaded spec says: loading refuses that."""
    labels = {name: host.labels for name, host in cluster.hosts.items()} or {LOCAL: {}}
    return [name for name, its in labels.items() if on is None or on.matches(name, its)]
