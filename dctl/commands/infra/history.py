"""dctl infra history, rollback, lock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.apply import carry_out, progress_option
from dctl.commands.infra.group import confirm, group, opened
from dctl.commands.options import output_option, spec_option, yes_option

if TYPE_CHECKING:
    from dctl.engine.apply import Event, Result
    from dctl.engine.plan import Plan
    from dctl.render.output import Format
    from dctl.render.progress import Mode


@group.command()
@spec_option
@output_option("table", "json", "yaml", "ndjson")
@click.option(
    "-n",
    "--last",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="How many changes, the newest ones.",
)
def history(file: Path | None, format: Format, last: int) -> None:
    """Who changed the cluster, when, how, and how it ended.

    A number under RELEASE can be gone back to: dctl infra rollback NUMBER.
    """
    from dctl.render.history import COLUMNS, record_rows
    from dctl.render.output import emit_list

    cluster = opened(file)
    records = cluster.history()[-last:]
    kept = {release.id for release in cluster.releases()}
    rows = (
        record_rows(records, kept)
        if format == "table"
        else [{**record.to_json(), "release": record.id in kept} for record in records]
    )
    empty = f"nothing was done to {cluster.name} yet"
    emit_list("HistoryList", rows, format=format, columns=COLUMNS, empty=empty)


@group.command()
@spec_option
@yes_option
@progress_option
@click.argument("release", metavar="[ID]", required=False, type=click.IntRange(1))
def rollback(file: Path | None, yes: bool, mode: Mode, release: int | None) -> None:
    """Back to the last good release, or to the one of that ID.

    A release is all that an apply which ended well had asked for. Data is not touched, and neither
    is the spec's file. Asked again, it goes further back.

    \b
      dctl infra history         what there is, under RELEASE
      dctl infra rollback        to the last good one
      dctl infra rollback 7      to that one
    """
    from dctl.render.history import moment
    from dctl.render.plan import plan_counts

    cluster = opened(file)
    way = cluster.rollback(release)
    number = way.release.id
    click.echo(f"back to release {number}: {moment(way.release.time)}, {way.release.who}", err=True)
    for sentence in way.otherwise:
        click.echo(f"not as it was then: {sentence}", err=True)
    if not way.plan.changed:
        hint = "an older one: dctl infra rollback ID (see dctl infra history)"
        click.echo(f"{cluster.name} is as release {number} asks: no changes; {hint}", err=True)
        return

    def do(plan: Plan, *, on_event: Callable[[Event], None]) -> Result:
        return cluster.roll_back(way, on_event=on_event)

    carry_out(cluster, way.plan, do, mode, ask="" if yes else "Roll back")
    click.echo(f"{cluster.name} is as release {number} asked", err=True)
    if (ahead := cluster.plan()).changed:
        counts = plan_counts(ahead)
        click.echo(f"the spec asks for something else still ({counts}): change it first", err=True)


@group.group()
def lock() -> None:
    """Who is changing the cluster: one at a time may."""


@lock.command()
@spec_option
@output_option("table", "json", "yaml")
def status(file: Path | None, format: Format) -> None:
    """Who has the lock, since when, and when they were last heard of."""
    from dctl.render.history import holder_text
    from dctl.render.output import emit

    cluster = opened(file)
    holder = cluster.holder()
    if format == "table":
        click.echo(holder_text(holder) if holder else f"nobody is changing {cluster.name}")
        return
    emit(
        "Lock",
        {
            "cluster": cluster.name,
            "held": holder is not None,
            "holder": holder.name if holder else None,
            "pid": holder.pid if holder else None,
            "since": holder.since if holder else None,
            "silent": holder.silent if holder else None,
        },
        format=format,
    )


@lock.command()
@spec_option
@yes_option
def release(file: Path | None, yes: bool) -> None:
    """Take the lock from whoever has it; they begin no further step.

    It goes by itself with its process, and a minute after that was frozen: this is for a holder
    that lives and does not end.
    """
    from dctl.render.history import holder_text

    cluster = opened(file)
    holder = cluster.holder()
    if holder is None:
        click.echo(f"nobody is changing {cluster.name}", err=True)
        return
    if not yes:
        confirm(f"{holder_text(holder)} is changing {cluster.name}. Take the lock away?")
    cluster.break_lock()
    click.echo(f"taken from {holder.name}; their change ends before its next step", err=True)
