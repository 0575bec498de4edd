"""dctl ps, dctl process: the processes in the registry."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.core import core
from dctl.commands.options import output_option, spec_option, timeout_option
from dctl.errors import NotFoundError

if TYPE_CHECKING:
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
    from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc
    from google.protobuf.timestamp_pb2 import Timestamp

    from dctl.clients import Connection
    from dctl.render.output import Format

_COLUMNS = {name: name for name in ("name", "pid", "group", "address", "state", "health", "age")}
_STREAM = (("change", 7), ("name", 16), ("pid", 36), ("address", 21), ("state", 12), ("health", 0))


@click.command()
@click.option("--name", help="Only processes of this service.")
@click.option("--group", help="Only processes of this group.")
@click.option("--unhealthy", is_flag=True, help="Only processes that cannot do their work.")
@click.option("--watch", is_flag=True, help="Then print every change, until Ctrl-C.")
@click.option("--count", type=click.IntRange(1), help="With --watch: end after so many lines.")
@spec_option
@output_option()
@timeout_option("5s")
def command(
    name: str | None,
    group: str | None,
    unhealthy: bool,
    watch: bool,
    count: int | None,
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """The processes in the registry: every service that runs, whoever started it.

    \b
      dctl ps
      dctl ps --name echo
      dctl ps --unhealthy -o ndjson
      dctl ps --watch
    """
    from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb

    from dctl.render.output import emit_list

    wanted = pb.Filter(name=name or "")
    if group is None:
        wanted.all = "all"
    else:
        wanted.group = group
    if unhealthy:
        wanted.health_state = models.PROCESS_UNHEALTHY
    with _registry(file, timeout) as (blueprint, stub):
        if watch:
            _follow(blueprint, stub, wanted, count, format)
            return
        processes = _query(blueprint, stub, wanted)
    items = [_item(process) for process in processes]
    if format == "table":
        items = [
            {**item, "age": _age(process)} for item, process in zip(items, processes, strict=True)
        ]
    emit_list(
        "ProcessList", items, columns=_COLUMNS, format=format, empty="no process is registered"
    )


@click.group()
def group() -> None:
    """The processes in the registry, one by one. (`dctl ps` lists them.)"""


@group.command()
@click.argument("wanted", metavar="NAME|PID")
@spec_option
@output_option()
@timeout_option("5s")
def show(wanted: str, file: Path | None, format: Format, timeout: float) -> None:
    """All that the registry knows of a process, or of each process of a service.

    \b
      dctl process show echo
      dctl process show 1e0b7d2c-1c5e-4d0f-9e0a-3a2f4b8f6a11 -o json
    """
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb

    from dctl.render.output import emit

    with _registry(file, timeout) as (blueprint, stub):
        processes = _query(blueprint, stub, pb.Filter(id=wanted))
        processes = processes or _query(blueprint, stub, pb.Filter(all="all", name=wanted))
    if not processes:
        raise NotFoundError(f'no process "{wanted}" is registered', hint="dctl ps")
    if format == "table":
        for number, process in enumerate(processes):
            if number:
                click.echo()
            _describe(process)
    else:
        emit("ProcessList", {"items": [_item(process) for process in processes]}, format=format)


@contextmanager
def _registry(
    file: Path | None, timeout: float
) -> Iterator[tuple[Connection, rpc.ServiceDiscoveryServiceStub]]:
    from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as rpc

    with core("blueprint", file, timeout) as blueprint:
        yield blueprint, blueprint.stub(rpc.ServiceDiscoveryServiceStub)


def _query(
    blueprint: Connection, stub: rpc.ServiceDiscoveryServiceStub, wanted: pb.Filter
) -> list[models.Process]:
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb

    answer = blueprint.call(stub.Query, pb.QueryRequest(filter=wanted))
    return sorted(
        answer.data.values(), key=lambda p: (p.name, p.joined_time.ToNanoseconds(), p.pid)
    )


def _follow(
    blueprint: Connection,
    stub: rpc.ServiceDiscoveryServiceStub,
    wanted: pb.Filter,
    count: int | None,
    format: Format,
) -> None:
    """Print the processes, then every change: `count` in all, or for ever."""
    from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb

    from dctl.cursors import ProcessCursor
    from dctl.render.stream import print_header, print_item

    cursor, seen = ProcessCursor(), 0
    print_header(_STREAM, format=format)
    for response in blueprint.follow(
        lambda left: stub.Watch(pb.WatchRequest(filter=wanted), timeout=left),
        seconds=None,
        on_open=cursor.opened,
        say=lambda text: click.echo(text, err=True),
    ):
        for change, process in cursor.read(response):
            if change == "synced":
                if format == "table":
                    click.echo("these are all; now every change (Ctrl-C ends)", err=True)
                    continue
                item: dict[str, Any] = {"change": change}
            else:
                item = {"change": change, **_item(process)}
            cells = [str(item.get(name, "")) for name, _ in _STREAM]
            print_item("ProcessChange", item, cells, columns=_STREAM, format=format)
            seen += change != "synced"
            if seen == count:
                return


def _describe(process: models.Process) -> None:
    from dctl.render.output import colored
    from dctl.text import printable

    item = _item(process)
    rows = {name: item[name] for name in ("name", "pid", "group", "address", "state", "health")}
    rows |= {"age": _age(process), "last seen": item["lastSeen"]}
    if process.HasField("location"):
        rows["location"] = f"{process.location.lat:g}, {process.location.lng:g}"
    rows |= dict(sorted(item["metadata"].items()))
    width = max(map(len, rows))
    for name, value in rows.items():
        text = printable(str(value or "-"))
        click.echo(f"{printable(name).ljust(width)}  {colored(text, text)}")


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
