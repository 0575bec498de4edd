"""A cluster of its own for a while: the same spec under another name, on free ports, in a folder
that goes with it. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from dctl.engine.catalogue.parts import completed, core_parts
from dctl.errors import UsageError
from dctl.spec import Cluster, Loaded
from dctl.spec.types import LOOPBACK, Address

_STORE = "256M"  # of the engine's; it is gone soon
_NAME = 50


def throwaway(loaded: Loaded, suffix: str) -> dict[str, Any]:
    """The data of a spec like this one that can run beside it. UsageError for one of other
    machines."""
    cluster = loaded.cluster
    if far := [name for name, host in cluster.hosts.items() if host.ssh]:
        raise UsageError(
            f"tests have a cluster on this machine, and {loaded.path} is for {', '.join(far)}",
            hint="name a spec without other machines: -f FILE",
        )
    data: dict[str, Any] = copy.deepcopy(dict(loaded.data))
    data["name"] = name_of(cluster.name, suffix)
    core = data["core"] = {**(data.get("core") or {})}
    for part, model in core_parts(cluster.core).items():
        said = core.get(part)
        core[part] = {**(said if isinstance(said, Mapping) else {})}
        core[part] |= {key: 0 for key, value in model if isinstance(value, Address)}
        if part == "nats":
            core[part]["max_store"] = _STORE
    for name, service in cluster.services.items():
        if service.ports:
            free = {port: _anywhere(wish) for port, wish in service.ports.items()}
            data["services"][name] = {**data["services"][name], "ports": free}
    for name, backing in _backings(cluster).items():
        if backing.ports:
            free_ports = [_anywhere(wish) for wish in backing.ports]
            data["infra"][name] = {**data["infra"][name], "ports": free_ports}
    return data


def name_of(cluster: str, suffix: str) -> str:
    """The cluster's name, with room for the suffix."""
    end = f"-test-{suffix}"
    return cluster[: _NAME - len(end)].rstrip("-") + end


def addresses(things: Mapping[str, Mapping[str, object]]) -> dict[str, str]:
    """What tests are told of the core parts, by the ports of each: DRAFT_TEST_BLUEPRINT, ..."""
    wanted = {"blueprint": "grpc", "catalyst": "grpc", "fuse": "grpc", "envoy": "ingress"}
    return {
        f"DRAFT_TEST_{'INGRESS' if part == 'envoy' else part.upper()}": str(things[part][port])
        for part, port in wanted.items()
        if port in things.get(part, {})
    }


def _backings(cluster: Cluster) -> dict[str, Any]:
    return {name: completed(backing) for name, backing in cluster.infra.items()}


def _anywhere(wish: Address) -> int | str:
    """Any port of loopback, for the same port inside of a container."""
    target = wish.target or wish.port
    return f"{LOOPBACK}:0:{target}" if target else 0
