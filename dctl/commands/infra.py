"""dctl infra: plan, apply and watch over a cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.options import (
    output_option,
    spec_option,
    spec_option_long,
    timeout_option,
    yes_option,
)
from dctl.errors import (
    DctlError,
    ExitCode,
    PartlyAppliedError,
    PortTakenError,
    UsageError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from dctl.engine.apply import Result
    from dctl.engine.cluster import OpenCluster, Verb
    from dctl.engine.plan import Plan
    from dctl.engine.status import Row
    from dctl.render.output import Format
    from dctl.render.progress import Mode

_POLL = 0.2  # seconds between two looks while waiting


@click.group()
def group() -> None:
    """Plan, apply and watch over a cluster.

    \b
      dctl infra plan               what an apply would do
      dctl infra apply              do it
      dctl infra status             what runs where, and how it feels
      dctl infra logs -f echo       follow what a service prints
    """


def _open(file: Path | None) -> OpenCluster:
    from dctl.engine.cluster import open_cluster

    return open_cluster(file, say=lambda text: click.echo(text, err=True))


_offset_option = click.option(
    "--port-offset",
    type=click.IntRange(0, 50_000),
    help="Move every port of the cluster by this much; it stays moved.",
)


@group.command()
@spec_option
@output_option("table", "json", "yaml")
@_offset_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
def plan(
    file: Path | None, format: Format, port_offset: int | None, detailed_exitcode: bool
) -> int:
    """Show what an apply would do, and change nothing."""
    from dctl.engine.preflight import preflight
    from dctl.render.output import emit
    from dctl.render.plan import plan_text

    cluster = _open(file)
    made = cluster.plan(port_offset=port_offset)
    if format == "table":
        click.echo(plan_text(made, source=str(cluster.source)))
    else:
        emit("Plan", made.to_json(), format=format)
    for problem in preflight(made, cluster.readers):
        click.echo(f"warning: apply would refuse: {problem}", err=True)
    return ExitCode.CHANGES if detailed_exitcode and made.changed else ExitCode.OK


@group.command()
@spec_option
@yes_option
@_offset_option
@click.option(
    "--progress",
    "mode",
    type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
    default="auto",
    show_default=True,
    help="How to show what happens, on stderr.",
)
@output_option("table", "json", "yaml")
def apply(file: Path | None, yes: bool, port_offset: int | None, mode: Mode, format: Format) -> int:
    """Make the cluster as the spec says, and wait until all of it is healthy.

    \b
      dctl infra apply -y                              the nearest draft.yaml's cluster
      dctl infra apply -f blueprints/local.yaml -y     another one
    """
    from dctl.engine.preflight import preflight
    from dctl.render.plan import plan_counts, plan_text
    from dctl.render.progress import progress

    cluster = _open(file)
    made = cluster.plan(port_offset=port_offset)
    if made.changed:
        click.echo(plan_text(made, source=str(cluster.source)), err=True)
    problems = preflight(made, cluster.readers)
    if problems:
        raise PortTakenError("\n".join(problems), hint="stop it, or move ours: --port-offset 100")
    if made.changed and not yes:
        _confirm(f"Apply to {cluster.name}?")

    began = time.monotonic()
    with progress(made, mode) as listener:
        result = cluster.apply(made, on_event=listener)
    if result.interrupted:
        raise KeyboardInterrupt
    if result.failures:
        raise PartlyAppliedError(_what_failed(result), hint="mend it, then: dctl infra apply")
    left = cluster.plan()
    if left.changed:
        raise DctlError(
            f"applied, but the cluster is not as asked yet: {plan_counts(left)}",
            hint="dctl infra plan shows what differs",
        )
    _show_status(cluster, cluster.status(), format)
    if format == "table":
        _what_next(cluster, made, time.monotonic() - began)
    return ExitCode.OK


@group.command(name="status")
@spec_option
@output_option("table", "json", "yaml", "ndjson")
def status_(file: Path | None, format: Format) -> None:
    """Every resource: desired, actual, health, uptime, address."""
    cluster = _open(file)
    _show_status(cluster, cluster.status(), format)


@group.command()
@spec_option
@timeout_option("60s")
def wait(file: Path | None, timeout: float) -> None:
    """Wait until everything that the spec asks for is there and healthy."""
    from dctl.render.times import span

    cluster = _open(file)
    deadline = time.monotonic() + timeout
    while ill := [row for row in cluster.status() if not row.well]:
        if time.monotonic() >= deadline:
            names = "; ".join(f"{row.name}: {_condition(row)}" for row in ill)
            raise WaitTimeoutError(
                f"not healthy after {span(timeout)}: {names}", hint="dctl infra logs NAME"
            )
        time.sleep(_POLL)
    click.echo(f"{cluster.name} is healthy", err=True)


@group.command()
@spec_option_long
@click.option("-f", "--follow", is_flag=True, help="Go on printing what comes.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Lines of the past.",
)
@click.argument("name", required=False)
def logs(file: Path | None, follow: bool, lines: int, name: str | None) -> None:
    """What a service (or one instance of it, or everything) printed."""
    from dctl.render.logs import print_logs

    cluster = _open(file)
    reader = cluster.readers["local"]
    names = [seen.name for seen in (cluster.select(name) if name else reader.observe())]
    print_logs(reader, names, lines=lines, follow=follow)


def _add(verb: Verb, help: str) -> None:
    @group.command(name=verb, help=help)
    @spec_option
    @click.argument("names", nargs=-1)
    def command(file: Path | None, names: tuple[str, ...]) -> None:
        _open(file).operate(verb, names, lambda done: click.echo(f"  {verb:<8} {done}", err=True))


_add("start", "Start what was stopped: NAMES, or everything.")
_add("stop", "Stop NAMES, or everything; it stays stopped, and that is no drift.")
_add("restart", "Restart NAMES, or everything.")


@group.command()
@spec_option
def down(file: Path | None) -> None:
    """Stop the whole cluster and its supervisor. Everything is kept; apply brings it back."""
    cluster = _open(file)
    cluster.hosts()["local"].down()
    click.echo(f"{cluster.name} is down; its data is kept. Up again: dctl infra apply", err=True)


@group.command()
@spec_option
@yes_option
def destroy(file: Path | None, yes: bool) -> None:
    """Remove all that runs. Data, logs and history stay."""
    cluster = _open(file)
    if not yes:
        _confirm(f"Remove everything that runs in {cluster.name}?")
    cluster.hosts()["local"].clean(full=False)
    click.echo(f"{cluster.name} is gone; its data is kept", err=True)


@group.command()
@spec_option
@yes_option
@click.option("--full", is_flag=True, help="Also data, logs and history: nothing is left.")
def clean(file: Path | None, yes: bool, full: bool) -> None:
    """Remove the cluster from this machine; with --full, every file of it too."""
    cluster = _open(file)
    if not yes:
        _confirm(f"Remove {cluster.name}{' and all of its data' if full else ''}?")
    cluster.hosts()["local"].clean(full=full)
    click.echo(
        f"nothing of {cluster.name} is left" if full else f"{cluster.name} is gone", err=True
    )


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "this changes the cluster, and there is no terminal to ask at",
            hint="say yes with -y or DCTL_YES=1",
        )
    click.confirm(question, abort=True, err=True)


def _show_status(cluster: OpenCluster, rows: list[Row], format: Format) -> None:
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


def _what_next(cluster: OpenCluster, made: Plan, took: float) -> None:
    from dctl.render.plan import plan_counts
    from dctl.render.times import span

    click.echo(f"\n{cluster.name} is healthy ({plan_counts(made)}; {span(took)}).", err=True)
    click.echo("Try next:  dctl ps    dctl kv set greeting hello    dctl tui", err=True)


def _what_failed(result: Result) -> str:
    lines: list[str] = []
    for failure in result.failures:
        step = failure.step
        what = f"{step.verdict.action} failed" if step.changes else "is not well"
        lines.append(f"{step.name} on {step.host}: {what}: {failure.reason}")
        lines += [f"    | {line}" for line in failure.tail]
    names = ", ".join(step.name for step in result.done) or "nothing"
    lines.append(f"done: {names}")
    if result.not_done:
        lines.append(f"not done: {', '.join(step.name for step in result.not_done)}")
    return "\n".join(lines)


def _condition(row: Row) -> str:
    words = [row.actual if row.actual != row.desired else row.health, row.reason, row.last_exit]
    return ", ".join(word for word in words if word)
