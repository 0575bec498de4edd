"""A machine and the way to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dctl.errors import DctlError

if TYPE_CHECKING:
    from dctl.spec.model import Host
    from dctl.spec.types import SshTarget


@dataclass(frozen=True, slots=True)
class Target:
    """`name` is how dctl calls it, `ssh` where it is, `via` the name of the target through which
    it is reached. Without a `key` ssh's own configuration and the agent choose one."""

    name: str
    ssh: SshTarget
    via: str = ""
    key: Path | None = None


def targets(hosts: Mapping[str, Host], folder: Path) -> list[Target]:
    """The machines of a spec that are reached by SSH; paths of keys start at `folder`."""
    found = []
    for name, host in hosts.items():
        if host.ssh is not None:
            key = folder / Path(host.key).expanduser() if host.key else None
            found.append(Target(name, host.ssh, host.via or "", key))
    return found


def with_jumps(chosen: Iterable[Target], known: Mapping[str, Target]) -> list[Target]:
    """The chosen ones and those through which they are reached, each once."""
    found: dict[str, Target] = {}
    for target in chosen:
        way: list[str] = []
        step: Target | None = target
        while step is not None and step.name not in found:
            if step.name in way:
                raise DctlError(f"{target.name} is reached through itself: {' -> '.join(way)}")
            way.append(step.name)
            if step.via and step.via not in known:
                raise DctlError(f'{step.name} is reached via "{step.via}", which is no host')
            step = known[step.via] if step.via else None
        for name in reversed(way):
            found[name] = known.get(name, target)
    return list(found.values())
