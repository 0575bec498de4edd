"""The face of a runtime, and what each knows of its cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dctl.engine.catalogue.site import NONCE, Site
from dctl.engine.ports import PortBook
from dctl.hosts.base import Host, Identify, Reader, Resource, Secrets, nobody
from dctl.spec import Cluster, Loaded
from dctl.spec.placement import address_of, hosts_of
from dctl.spec.workload import Workload

Say = Callable[[str], None]


class Runtime(Protocol):
    """What runs the things of one cluster on one host."""

    def readers(self) -> Mapping[str, Reader]:
        """The looking faces by their names, the host's own first; looked at in this order."""

    def hosts(self) -> Mapping[str, Host]:
        """The same, with the verbs that change something."""

    def site(self, ports: PortBook) -> Site:
        """The place that parts are built for. The host has been looked at, or does not answer."""

    def resources(self) -> list[Resource]:
        """What it needs besides the parts."""

    def restored(self, resources: Sequence[Resource]) -> Restored:
        """What can be had again of what its host was asked for once."""

    def let_go(self, needed: Sequence[Resource]) -> None:
        """Remove old things to run from that are this cluster's alone, but what `needed` runs
        from. What cannot be removed stays."""


@dataclass(frozen=True, slots=True)
class Restored:
    """Resources of an earlier time as they can be carried out today. `otherwise` names what will
    not be as it was then, `lacking` what it cannot do without."""

    resources: tuple[Resource, ...]
    otherwise: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What is settled for a runtime before it looks at anything: its host and the parts that are
    placed there, the cluster's spec and workspace, the address at which the other hosts reach this
    one ("" without any), whom to ask for the values of secrets, and for who we are."""

    host: str
    parts: Mapping[str, Workload]
    cluster: Cluster
    root: Path
    address: str
    variables: Mapping[str, str]
    secrets: Secrets
    own: Identify = nobody

    @classmethod
    def of(
        cls,
        loaded: Loaded,
        host: str,
        parts: Mapping[str, Workload],
        secrets: Secrets,
        own: Identify = nobody,
    ) -> Settled:
        cluster = loaded.cluster
        machine = hosts_of(cluster)[host]
        address = address_of(host, cluster)
        return cls(host, parts, cluster, loaded.root, address, machine.variables, secrets, own)

    @property
    def nonce_from(self) -> str:
        """The cluster's own secret: the one that its spec names, else the one that dctl makes; ""
        where any nonce is accepted."""
        nonce = self.cluster.security.nonce
        return "" if nonce == "any" else nonce or NONCE
