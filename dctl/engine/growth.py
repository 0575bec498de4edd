"""What may not change of a cluster that has data: how many nodes its engine has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from dctl.errors import DctlError
from dctl.hosts.base import Json, Observed, Resource

_ENGINE = "nats"
_ROUTES = "cluster"  # the port of a node that is one of several


def refuse_growth(asked: Sequence[Resource], things: Iterable[Observed]) -> None:
    """Raise DctlError when a single node is to become one of several, or the other way round: its
    data would be left behind."""
    single = {
        seen.name: _is_single(seen.spec) for seen in things if seen.service == _ENGINE and seen.spec
    }
    for resource in asked:
        before = single.get(resource.name) if resource.service == _ENGINE else None
        if before is not None and before != _is_single(resource.spec):
            what = "one node" if before else "several nodes"
            raise DctlError(
                f"{resource.name} has the data of an engine of {what}, which does not become"
                f" {'several' if before else 'one'} as yet: nothing was changed",
                hint="set core.nats.replicas back, or begin anew: dctl infra clean --full",
            )


def _is_single(spec: Mapping[str, Json]) -> bool:
    return _ROUTES not in spec.get("ports", {})
