"""Other machines, over SSH.

target.py   a machine and the way to it; config.py: as an ssh_config that every client here reads
known.py    the host keys that the user has accepted; contact.py: the first look at one
fleet.py    commands and operations on many machines, carried out by one worker process
worker.py   that process: the one place that imports pyinfra; operations.py: what it can do
tunnel.py   ports and sockets of a machine, here; and output that streams
failures.py what can go wrong on the way, in our words
"""

from __future__ import annotations

from dctl.hosts.ssh.fleet import Fleet
from dctl.hosts.ssh.target import Target

__all__ = ["Fleet", "Target"]
