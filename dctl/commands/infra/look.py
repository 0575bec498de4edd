"""dctl infra status, wait, logs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands import completing
from dctl.commands.infra.group import group, opened, part_of
from dctl.commands.options import (
    output_option,
    scope,
    scope_options,
    spec_option,
    spec_option_long,
    timeout_option,
)
from dctl.errors import WaitTimeoutError

if TYPE_CHECKING:
    from dctl.engine.cluster import OpenCluster
    from dctl.engine.status import Row
    from dctl.render.output import Format

_POLL = 0.2  # seconds between two looks while waiting


@group.command(name="status")
@spec_option
@scope_options
@output_option("table", "json", "yaml", "ndjson")
def status_(file: Path | None, format: Format) -> None:
    """Every resource: desired, actual, health, uptime, address."""
    cluster = opened(file)
    show_status(cluster, cluster.status(scope()), format)


@group.command()
@spec_option
@scope_options
@timeout_option("60s")
def wait(file: Path | None, timeout: float) -> None:
    """Wait until everything that the spec asks for is there and healthy."""
    from dctl.render.times import span

    cluster = opened(file)
    deadline = time.monotonic() + timeout
    while ill := [row for row in cluster.status(scope()) if not row.well]:
        if time.monotonic() >= deadline:
            names = "; ".join(f"{row.name}: {_condition(row)}" for row in ill)
            raise WaitTimeoutError(
                f"not healthy after {span(timeout)}: {names}", hint="dctl infra logs NAME"
            )
        time.sleep(_POLL)
    click.echo(f"{part_of(cluster.name, scope())} is healthy", err=True)


@group.command()
@spec_option_long
@scope_options
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Lines of the past.",
)
@click.argument("name", required=False, shell_complete=completing.services)
def logs(file: Path | None, follow: bool, lines: int, name: str | None) -> None:
    """What a service (or one instance of it, or everything) printed."""
    from dctl.render.logs import print_logs

    cluster = opened(file)
    chosen = cluster.select(*([name] if name else ()), scope=scope())
    for note in cluster.learn_secrets(chosen):
        click.echo(f"warning: {note}", err=True)
    readers = {seen.name: cluster.readers[seen.host] for seen in chosen}
    print_logs(readers, lines=lines, follow=follow)


def show_status(cluster: OpenCluster, rows: list[Row], format: Format) -> None:
    """Print the rows of a cluster."""
    from dctl.render.output import emit_list
    from dctl.render.times import span

    shown = [
        {**row.to_json(), "up": span(row.uptime) if row.uptime is not None else None}
        if format == "table"
        else row.to_json()
        for row in rows
    ]
    emit_list(
        "StatusList",
        shown,
        format=format,
        columns={
            "name": "name",
            "kind": "kind",
            "host": "host",
            "desired": "desired",
            "actual": "actual",
            "health": "health",
            "up": "up",
            "restarts": "restarts",
            "address": "address",
            "why": "reason",
        },
        empty=f"{cluster.name} asks for nothing",
    )


def _condition(row: Row) -> str:
    words = [row.actual if row.actual != row.desired else row.health, row.reason, row.last_exit]
    return ", ".join(word for word in words if word)
