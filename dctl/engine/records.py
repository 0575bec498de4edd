"""What is written down of a cluster: entries of its journal, and resources in releases and saved
plans.

Everything that is kept passes here, so this is where secrets stay out. Entries tell what was done
and lose all that looks like a secret. Resources are kept whole, since they are carried out again:
no secret's value may ever be in one (it is delivered to what runs, and named by reference here).
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from dctl.engine.hiding import without_secrets
from dctl.hosts.base import Check, Condition, Endpoint, Json, Kind, Need, Resource, Rollout


def entry(event: str, number: int, **more: Any) -> dict[str, Any]:
    """A line of the journal: what was done, when (seconds since the epoch) and by whom."""
    told = {key: without_secrets(value) for key, value in more.items()}
    return {"id": number, "time": time.time(), "who": who(), "event": event, **told}


def who() -> str:
    """Who is at work here, as locks and journals name them."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def resource_json(resource: Resource) -> dict[str, Json]:
    """A resource as JSON; the same resource gives the same JSON."""
    rollout = resource.rollout
    check = resource.check
    return {
        "kind": resource.kind.value,
        "name": resource.name,
        "host": resource.host,
        "service": resource.service,
        "spec": dict(resource.spec),
        "ports": {name: [port.host, port.port] for name, port in resource.ports.items()},
        "needs": [[need.resource, need.condition.value] for need in resource.needs],
        "check": {**asdict(check), "argv": list(check.argv)} if check else None,
        "rollout": {
            "parallel": rollout.parallel,
            "auto_rollback": rollout.auto_rollback,
            "stand_in": resource_json(rollout.stand_in) if rollout.stand_in else None,
            "monitor": rollout.monitor,
            "overlap": rollout.overlap,
            "quorum": rollout.quorum,
        }
        if rollout
        else None,
    }


def resource_from(value: Mapping[str, Json]) -> Resource:
    """The inverse of `resource_json`."""
    check, rollout = value["check"], value["rollout"]
    return Resource(
        kind=Kind(value["kind"]),
        name=value["name"],
        host=value["host"],
        service=value["service"],
        spec=value["spec"],
        ports={name: Endpoint(host, port) for name, (host, port) in value["ports"].items()},
        needs=tuple(Need(name, Condition(condition)) for name, condition in value["needs"]),
        check=Check(**{**check, "argv": tuple(check["argv"])}) if check else None,
        rollout=Rollout(
            rollout["parallel"],
            rollout["auto_rollback"],
            resource_from(rollout["stand_in"]) if rollout["stand_in"] else None,
            rollout.get("monitor", 0.0),  # a release of an older dctl tells less
            rollout.get("overlap", False),
            rollout.get("quorum", False),
        )
        if rollout
        else None,
    )
