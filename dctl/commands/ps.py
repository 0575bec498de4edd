"""dctl ps: the processes in the registry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.core import core
from dctl.commands.options import output_option, spec_option, timeout_option

if TYPE_CHECKING:
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from google.protobuf.timestamp_pb2 import Timestamp

    from dctl.render.output import Format

_COLUMNS = {name: name for name in ("name", "pid", "group", "address", "state", "health", "age")}


@click.command()
@click.option("--name", help="Only processes of this service.")
@click.option("--group", help="Only processes of this group.")
@click.option("--unhealthy", is_flag=True, help="Only processes that cannot do their work.")
@spec_option
@output_option()
@timeout_option("5s")
def command(
    name: str | None,
    group: str | None,
    unhealthy: bool,
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """The processes in the registry: every service that runs, whoever started it.

    \b
      dctl ps
      dctl ps --name echo
      dctl ps --unhealthy -o ndjson
    """
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
    from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

    from dctl.render.output import emit_list

    wanted = pb.Filter(name=name or "")
    if group is None:
        wanted.all = "all"
    else:
        wanted.group = group
    if unhealthy:
        wanted.health_state = models.PROCESS_UNHEALTHY
    with core("blueprint", file, timeout) as blueprint:
        stub = blueprint.stub(rpc.ServiceDiscoveryServiceStub)
        answer = blueprint.call(stub.Query, pb.QueryRequest(filter=wanted))
    processes = sorted(
        answer.data.values(), key=lambda p: (p.name, p.joined_time.ToNanoseconds(), p.pid)
    )
    items = [_item(process) for process in processes]
    if format == "table":
        items = [
            {**item, "age": _age(process)} for item, process in zip(items, processes, strict=True)
        ]
    emit_list(
        "ProcessList", items, columns=_COLUMNS, format=format, empty="no process is registered"
    )


def _item(process: models.Process) -> dict[str, Any]:
    return {
        "name": process.name,
        "pid": process.pid,
        "group": process.group,
        "address": process.ip_address,
        "state": _state(process),
        "health": _health(process),
        "joined": _moment(process, "joined_time"),
        "lastSeen": _moment(process, "last_status_time"),
        "metadata": {entry.key: entry.value for entry in process.metadata},
    }


def _state(process: models.Process) -> str:
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models

    return {
        models.PROCESS_STARTING: "starting",
        models.PROCESS_TESTING: "testing",
        models.PROCESS_RUNNING: "running",
        models.PROCESS_DICONNECTED: "disconnected",
    }.get(process.running_state, "unknown")


def _health(process: models.Process) -> str:
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models

    return {models.PROCESS_HEALTHY: "healthy", models.PROCESS_UNHEALTHY: "unhealthy"}.get(
        process.health_state, "unknown"
    )


def _moment(process: models.Process, field: str) -> str | None:
    moment: Timestamp = getattr(process, field)
    return moment.ToJsonString() if process.HasField(field) else None  # type: ignore[arg-type]


def _age(process: models.Process) -> str | None:
    from dctl.render.times import span

    if not process.HasField("joined_time"):
        return None
    return span(time.time() - process.joined_time.ToNanoseconds() / 1e9)
