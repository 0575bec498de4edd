"""What runs things on a host: one runtime for each, behind one face.

base.py        the face: readers and hosts, the site that parts are built for
processes.py   supervised processes of this machine
containers.py  an engine's containers, here or on another machine
units.py       systemd units on another machine
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dctl.engine.catalogue.parts import by_host
from dctl.engine.runtimes.base import Restored, Runtime, Say, Settled
from dctl.hosts.base import Identify, Secrets
from dctl.spec import Loaded
from dctl.spec.placement import hosts_of, runtime_on

if TYPE_CHECKING:
    from dctl.hosts.ssh import Fleet
    from dctl.spec.model import Host

__all__ = ["Restored", "Runtime", "Say", "departed_of", "runtimes_of"]


def runtimes_of(
    loaded: Loaded, say: Say, fleet: Callable[[], Fleet], secrets: Secrets, own: Identify
) -> Mapping[str, Runtime]:
    """The runtime of each host that the spec asks for. `say` hears of long work, `fleet` gives the
    way to the machines that are reached by SSH, `secrets` the values that are delivered, `own` who
    we are to what encrypts."""
    return {
        host: _runtime(Settled.of(loaded, host, parts, secrets, own), loaded, say, fleet)
        for host, parts in by_host(loaded.cluster).items()
    }


def departed_of(
    loaded: Loaded,
    hosts: Mapping[str, Host],
    say: Say,
    fleet: Callable[[], Fleet],
    secrets: Secrets,
) -> Mapping[str, Runtime]:
    """The runtime of each of the `hosts` that have left the spec: nothing is placed there."""
    every = {**hosts_of(loaded.cluster), **hosts}
    before = dataclasses.replace(loaded, cluster=loaded.cluster.model_copy(update={"hosts": every}))
    return {
        host: _runtime(Settled.of(before, host, {}, secrets), before, say, fleet) for host in hosts
    }


def _runtime(settled: Settled, loaded: Loaded, say: Say, fleet: Callable[[], Fleet]) -> Runtime:
    # Each when it is needed: what a spec does not ask for is not imported.
    host = settled.host
    match runtime_on(host, loaded.cluster):
        case "process":
            from dctl.engine.runtimes.processes import Processes

            return Processes(settled, say)
        case "docker":
            from dctl.engine.runtimes.containers import Containers

            remote = hosts_of(loaded.cluster)[host].ssh is not None
            return Containers(settled, say, fleet() if remote else None)
        case "systemd":
            from dctl.engine.runtimes.units import Units

            return Units(settled, say, fleet())
