"""Hosts that have left the spec, while there may be something of the cluster on them.

Before it changes anything, an apply notes with the cluster's books how each host is reached. What
is found on one that is in the notes and no longer in the spec is not asked for any more. Once all
of the cluster is as asked, the notes are those of the spec again: what was there is gone, or was
named as out of reach.
"""

from __future__ import annotations

import atexit
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dctl.engine.records import who
from dctl.engine.runtimes import Say, departed_of
from dctl.engine.sight import Sight, look
from dctl.hosts.base import Host, Json, Reader, Secrets
from dctl.spec import Cluster, Loaded
from dctl.spec.model import Host as Spec
from dctl.spec.placement import hosts_of, runtime_on
from dctl.spec.types import SshTarget

if TYPE_CHECKING:
    from dctl.hosts.ssh import Fleet


def notes(cluster: Cluster, root: Path) -> dict[str, Json]:
    """How each host of a spec is reached; of one without SSH, whose machine it is."""
    return {
        name: {
            "runtime": runtime_on(name, cluster),
            "ssh": dataclasses.asdict(host.ssh) if host.ssh else None,
            "via": host.via,
            "key": str(root / Path(host.key).expanduser()) if host.key else None,
            "of": "" if host.ssh else who(),
        }
        for name, host in hosts_of(cluster).items()
    }


class Departed:
    """The hosts that left, found in the books at the first look and looked at like others."""

    def __init__(
        self, loaded: Loaded, say: Say, secrets: Secrets, here: Callable[[], Fleet]
    ) -> None:
        self._loaded, self._say, self._secrets, self._here = loaded, say, secrets, here
        self._found = False
        self._lost: dict[str, str] = {}
        self._looking: dict[str, list[Reader]] = {}
        self.readers: dict[str, Reader] = {}
        self.hosts: dict[str, Host] = {}

    def look(self, first: Host) -> Sight:
        """At what is there still. Who does not answer is asked once: that takes its time, and
        nothing depends on it."""
        if not self._found:
            self._find(first.machines())
            self._found = True
        if not self._looking and not self._lost:
            return Sight()
        sight = look(self._looking)
        for name, error in sight.silent.items():
            self._lost[name] = error.message
            del self._looking[name]
        return Sight(sight.things, gone=dict(self._lost))

    def _find(self, noted: Mapping[str, Json]) -> None:
        cluster = self._loaded.cluster
        left, self._lost = departed(noted, cluster)
        if not left:
            return
        from dctl.hosts.ssh import Fleet
        from dctl.hosts.ssh.target import targets, with_jumps

        known = {
            target.name: target for target in targets({**left, **cluster.hosts}, self._loaded.root)
        }
        fleet = Fleet(with_jumps([known[name] for name in left if name in known], known))
        atexit.register(fleet.close)
        left = {name: host for name, host in left.items() if not self._is_here(name, host, fleet)}
        runtimes = departed_of(self._loaded, left, self._say, lambda: fleet, self._secrets)
        for name, runtime in runtimes.items():
            readers = runtime.readers()
            self._looking[name] = [*readers.values()]
            self.readers |= readers
            self.hosts |= runtime.hosts()

    def _is_here(self, name: str, host: Spec, fleet: Fleet) -> bool:
        """Whether it is a host of the spec still, under another name: a machine is known by its
        host key."""
        cluster = self._loaded.cluster
        for other, its in hosts_of(cluster).items():
            if runtime_on(other, cluster) != host.runtime or bool(its.ssh) != bool(host.ssh):
                continue
            if host.ssh is None or identity(fleet, name) == identity(self._here(), other):
                return True
        return False


def departed(noted: Mapping[str, Json], cluster: Cluster) -> tuple[dict[str, Spec], dict[str, str]]:
    """Those of the notes that are no longer in the spec; of some why they cannot be reached."""
    found, lost = {}, {}
    for name, note in noted.items():
        if name in hosts_of(cluster):
            continue
        if note["of"] not in ("", who()):
            lost[name] = f"it was the machine of {note['of']}"
        elif note["via"] and note["via"] not in {**noted, **cluster.hosts}:
            lost[name] = f'it was reached via "{note["via"]}", which is no host any more'
        else:
            found[name] = _host(note)
    return found, lost


def _host(note: Mapping[str, Json]) -> Spec:
    return Spec.model_construct(
        ssh=SshTarget(**note["ssh"]) if note["ssh"] else None,
        via=note["via"],
        key=note["key"],
        runtime=note["runtime"],
    )


def identity(fleet: Fleet, name: str) -> str:
    """What tells one machine from another: its host key, if that was accepted."""
    place = fleet.way(name).place
    key = fleet.known.at(place)
    return key.key if key else place
