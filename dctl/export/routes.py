"""The spec's routes, which no dctl adds where a cluster is exported: a job does, once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.site import NONCE_VARIABLE, Instance, Program
from dctl.hosts.base import Condition, Need, Resource
from dctl.hosts.routes import RouteSpec, to_proto
from dctl.spec.workload import Restart, Workload

JOB = "routes"
_FILE = "routes.json"


def routes_job(ground: Ground, routes: Sequence[Resource]) -> list[Resource]:
    """What declares them; nothing when there are none, or nobody to declare them to."""
    fuse = ground.cluster.core.fuse
    if not routes or fuse is False:
        return []
    from google.protobuf.json_format import MessageToDict

    instance = f"{JOB}-1"
    site = ground.site(next(iter(ground.instances["fuse"])))
    wanted = [
        MessageToDict(to_proto(route.name, RouteSpec.from_json(route.spec))) for route in routes
    ]
    env = {"DRAFT_FUSE": str(ground.port("fuse-1", "grpc", fuse.listen).call)}
    if ground.cluster.security.calls == "token":
        env[NONCE_VARIABLE] = site.nonce
    program = Program(
        argv=(*site.module("draft_services.fuse.declare"), f"{site.files(instance)}/{_FILE}"),
        env=env,
        files={_FILE: json.dumps(wanted, indent=2) + "\n"},
    )
    part = Workload(restart=Restart(when="on-failure"))
    needs = (Need("fuse-1", Condition.STARTED),)
    return [site.place(Instance(instance, JOB, part, program, needs))]
