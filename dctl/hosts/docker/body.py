"""A container as the engine's API wants it described, to be created. Pure.

`observed.py` reads the same fields back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dctl.hosts.base import Endpoint
from dctl.hosts.docker.naming import network_name, volume_name
from dctl.hosts.docker.spec import SECRETS, ContainerSpec

# "always" too must not bring back, with the engine, what was stopped on purpose.
POLICIES = {"always": "unless-stopped", "on-failure": "on-failure", "never": "no"}
# What a container prints is bounded, as for processes.
_LOG = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "4"}}


def body(
    cluster: str,
    instance: str,
    spec: ContainerSpec,
    endpoints: Mapping[str, Endpoint],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """`endpoints` say where each port is published."""
    network = network_name(cluster)
    bindings: dict[str, list[dict[str, str]]] = {}
    for name, port in spec.ports.items():
        at = endpoints[name]
        bindings.setdefault(f"{port.container}/tcp", []).append(
            {"HostIp": at.host, "HostPort": str(at.port)}
        )
    mounts = [
        {"Type": "volume", "Source": volume_name(cluster, instance, short), "Target": path}
        for short, path in spec.volumes.items()
    ]
    if spec.secrets:
        mounts.append({"Type": "volume", "Target": SECRETS})
    config: dict[str, Any] = {
        "Image": spec.image,
        "Hostname": instance[:63],
        "Env": [f"{name}={value}" for name, value in spec.env.items()],
        "Labels": dict(labels),
        "ExposedPorts": {port: {} for port in bindings},
        "StopSignal": f"SIG{spec.stop_signal}",
        "StopTimeout": seconds(spec.stop_timeout),
        "HostConfig": {
            "NetworkMode": network,
            "PortBindings": bindings,
            "RestartPolicy": {
                "Name": POLICIES[spec.restart],
                "MaximumRetryCount": spec.retries if spec.restart == "on-failure" else 0,
            },
            "Memory": spec.memory or 0,
            "MemorySwap": spec.memory or 0,  # else as much again could be swapped out
            "NanoCpus": nano(spec.cpus),
            "Mounts": mounts,
            "LogConfig": _LOG,
        },
        "NetworkingConfig": {
            "EndpointsConfig": {network: {"Aliases": [instance, *spec.aliases]}},
        },
    }
    if spec.command:
        config["Cmd"] = list(spec.command)
    if spec.user:
        config["User"] = spec.user
    return config


def seconds(timeout: float) -> int:
    return math.ceil(timeout)


def nano(cpus: float | None) -> int:
    return round((cpus or 0) * 1e9)
