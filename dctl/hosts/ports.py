"""Ports of this machine: who holds one, and which is free."""

from __future__ import annotations

import errno
import random
import socket

from dctl.hosts.base import Endpoint, PortOwner

# Below what systems hand out to outgoing connections (32768 and up on Linux): a port that is
# picked once and kept must not be taken by a stranger's connection while ours restarts.
_FIRST, _LAST = 20_000, 31_999
_TRIES = 200
ANYWHERE = ("0.0.0.0", "::")


def owner(endpoint: Endpoint) -> PortOwner | None:
    """Who listens there; None when it is free (or no address of this machine)."""
    if _can_listen(endpoint.host, endpoint.port):
        return None
    import psutil  # here, for it is only needed to name somebody

    unseen = PortOwner(0, "a process that we may not look at")
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS, unless root
        return unseen
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
            continue
        held = Endpoint(connection.laddr.ip, connection.laddr.port)
        if held.port != endpoint.port or not same_address(held.host, endpoint.host):
            continue
        try:
            return PortOwner(connection.pid, psutil.Process(connection.pid).name())
        except psutil.Error:
            return PortOwner(connection.pid, unseen.name)
    return unseen


def free(address: str) -> int:
    """A port that nobody holds on `address`."""
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)
        if _can_listen(address, port):
            return port
    with socket.socket(_family(address)) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def reachable(endpoint: Endpoint) -> Endpoint:
    """The address to call, on the same machine, for something that listens there."""
    return Endpoint("127.0.0.1", endpoint.port) if endpoint.host in ANYWHERE else endpoint


def _can_listen(host: str, port: int) -> bool:
    with socket.socket(_family(host)) as probe:
        # As servers do, so that connections of a server that has ended do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def same_address(held: str, wanted: str) -> bool:
    """Whether who listens on `held` is in the way of who wants `wanted`."""
    return held == wanted or held in ANYWHERE or wanted in ANYWHERE
