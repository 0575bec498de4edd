"""dctl infra plan and apply."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.group import confirm, group, opened
from dctl.commands.infra.look import show_status
from dctl.commands.options import output_option, spec_option, yes_option
from dctl.errors import DctlError, ExitCode, PartlyAppliedError, PortTakenError

if TYPE_CHECKING:
    from dctl.engine.apply import Result
    from dctl.engine.cluster import OpenCluster
    from dctl.engine.plan import Plan
    from dctl.render.output import Format
    from dctl.render.progress import Mode

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

    cluster = opened(file)
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

    cluster = opened(file)
    made = cluster.plan(port_offset=port_offset)
    if made.changed:
        click.echo(plan_text(made, source=str(cluster.source)), err=True)
    problems = preflight(made, cluster.readers)
    if problems:
        raise PortTakenError("\n".join(problems), hint="stop it, or move ours: --port-offset 100")
    if made.changed and not yes:
        confirm(f"Apply to {cluster.name}?")

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
    show_status(cluster, cluster.status(), format)
    if format == "table":
        _what_next(cluster, made, time.monotonic() - began)
    return ExitCode.OK


def _what_next(cluster: OpenCluster, made: Plan, took: float) -> None:
    from dctl.render.plan import plan_counts
    from dctl.render.times import span

    click.echo(f"\n{cluster.name} is healthy ({plan_counts(made)}; {span(took)}).", err=True)
    click.echo("Try next:  dctl ps    dctl kv set greeting hello    dctl tui", err=True)


def _what_failed(result: Result) -> str:
    from dctl.engine.step import Role

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
    if result.restored:
        lines.append(f"run again as before: {', '.join(step.name for step in result.restored)}")
    tried = {f.step.service for f in result.failures if f.step.role is Role.STAND_IN}
    if kept := [step.name for step in result.not_done if step.service in tried and step.before]:
        lines.append(f"{', '.join(kept)} still runs as before: the new release did not get well")
    return "\n".join(lines)
