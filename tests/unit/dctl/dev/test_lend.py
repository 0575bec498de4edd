"""What may be run from its code."""

from typing import Any, cast

import pytest

from dctl.dev.lend import asked_for
from dctl.engine.cluster import OpenCluster
from dctl.errors import UsageError
from dctl.hosts.base import Kind, Resource


class Cluster:
    """As much of a cluster as is asked."""

    def __init__(self, *resources: Resource) -> None:
        self._resources = list(resources)

    def look(self) -> None:
        return None

    def resources(self, _: Any) -> list[Resource]:
        return self._resources


def resource(name: str, kind: Kind, host: str = "local") -> Resource:
    return Resource(kind=kind, name=name, host=host, service="orders", spec={})


def asked(*resources: Resource) -> tuple[Resource, list[Resource]]:
    return asked_for(cast(OpenCluster, Cluster(*resources)), "orders")


def test_the_first_instance_is_meant_and_its_routes() -> None:
    first, second = (resource(f"orders-{n}", Kind.PROCESS) for n in (1, 2))
    route = resource("spec/orders/1", Kind.ROUTE, "ingress")
    assert asked(second, first, route) == (first, [route])


def test_what_is_no_process_of_this_machine_is_refused_with_the_way_to_make_it_one() -> None:
    with pytest.raises(UsageError, match="orders is a container on edge-1") as caught:
        asked(resource("orders-1", Kind.CONTAINER, "edge-1"))
    assert "runtime: process" in caught.value.hint
    with pytest.raises(UsageError, match="has no replica"):
        asked()
