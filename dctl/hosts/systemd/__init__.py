"""Processes under systemd on other machines.

layout.py    where everything of a cluster stands there
unit.py      a process as a unit, and what somebody edited in one
agent.py     the program that answers there: one round trip a question; it is sent as text
there/       parts of that program
ask.py       ask it; beside.py: the program that runs a command beside an instance
observed.py  what it told, judged
reader.py    look: SystemdReader
host.py      change: SystemdHost
keeping.py   lock (lease.py), journal, releases and secrets that are kept there
software.py  what our own services, and a user's, run from there, as values; bring.py: brings it
"""

from __future__ import annotations

from dctl.hosts.systemd.host import SystemdHost
from dctl.hosts.systemd.layout import Layout
from dctl.hosts.systemd.reader import SystemdReader

__all__ = ["Layout", "SystemdHost", "SystemdReader"]
