"""Other machines, over SSH.

target.py   a machine and the way to it; config.py: as an ssh_config that every client here reads
known.py    the host keys that the user has accepted; contact.py: the first look at one
fleet.py    commands and operations on many machines, carried out by one worker process
worker.py   that process, the only one that has pyinfra; machine.py: its connection to one of them;
            operations.py: what it can do
tunnel.py   ports and sockets of a machine, here; and output that streams
failures.py what can go wrong on the way, in our words
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctl.hosts.ssh.fleet import Fleet
    from dctl.hosts.ssh.target import Target

__all__ = ["Fleet", "Target"]

_HOMES = {"Fleet": "dctl.hosts.ssh.fleet", "Target": "dctl.hosts.ssh.target"}


def __getattr__(name: str) -> Any:
    # Lazily, because the worker passes through here, and needs none of them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
