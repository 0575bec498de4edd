"""Containers on a Docker engine.

spec.py      what is asked of a container: the shape of Resource.spec
naming.py    names and labels of containers, volumes and the network
observed.py  what the engine says of a container, read back as what was asked
reader.py    look: DockerReader; logs.py
host.py      change: DockerHost; replace.py: one container for another, and back; deliver.py: files
marks.py     what dctl itself stopped
remote.py    the same on another machine, whose engine is reached through SSH
client.py    the engine: the one place that imports docker-py, and translates its errors
"""

from __future__ import annotations

from dctl.hosts.docker.host import DockerHost
from dctl.hosts.docker.reader import DockerReader
from dctl.hosts.docker.spec import SECRETS, ContainerSpec, PublishedPort

__all__ = ["SECRETS", "ContainerSpec", "DockerHost", "DockerReader", "PublishedPort"]
