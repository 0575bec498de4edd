"""What a service imports: `from chassis import Chassis`.

app.py           Chassis: declares what a service is, runs it, ends it in order
config.py        settings from a YAML file and DRAFT_* variables, typed and strict
keys.py          which variable sets which key, which keys are unknown   yaml.py   the file
server.py        make_server(): the one way to build a gRPC server, with health and reflection
interceptor.py   what every call passes: errors to statuses, and what is noted of it
noting.py        what is noted of each call              slow.py     the log of slow ones
metrics.py       what Prometheus scrapes                 figures.py  a service's own, as values
registration.py  the process in the registry: Initialize, Synchronize, Finalize
publishing.py    what a registered service tells the cluster: its descriptors and its routes
calls.py         calls to other services by name           discovery.py   where their instances are
locks.py         locks and leaders, with fencing tokens   contest.py   how one is got
repository.py    a database: PostgreSQL or SQLite         migrations.py   what it has to be like
clients.py       addresses and channels; light, and used by dctl too
health.py        whether it can do its work, asked again and again, told with the reason
lifecycle.py     opened in order, closed in reverse, every step bounded
process.py       runs until a signal or a failure, and then ends whatever hangs
logs.py          structured logs        errors.py   what goes wrong, as one tree
objects.py       large objects in the engine                web.py          plain HTTP
probe.py         whether something is well, as an exit code
testing.py       a service inside a test, on real gRPC

Nothing heavy is imported until it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chassis.app import Chassis
    from chassis.errors import ChassisError

__all__ = ["Chassis", "ChassisError"]

_HOMES = {"Chassis": "chassis.app", "ChassisError": "chassis.errors"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
