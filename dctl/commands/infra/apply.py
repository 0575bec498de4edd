"""dctl infra apply, and how any plan is carried out before a person's eyes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.group import confirm, group, opened, part_of, refuse_silent
from dctl.commands.infra.look import show_status
from dctl.commands.infra.plan import offset_option
from dctl.commands.options import (
    Seconds,
    output_option,
    scope,
    scope_options,
    spec_option,
    yes_option,
)
from dctl.errors import DctlError, ExitCode, PartlyAppliedError, PortTakenError, UsageError

if TYPE_CHECKING:
    from dctl.engine.apply import Event, Result
    from dctl.engine.cluster import OpenCluster
    from dctl.engine.plan import Plan
    from dctl.render.output import Format
    from dctl.render.progress import Mode

progress_option = click.option(
    "--progress",
    "mode",
    type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
    default="auto",
    show_default=True,
    help="How to show what happens, on stderr.",
)


@group.command()
@spec_option
@scope_options
@yes_option
@offset_option
@progress_option
@output_option("table", "json", "yaml")
@click.option("--watch", is_flag=True, help="Then go on comparing, and heal what differs.")
@click.option(
    "--every",
    type=Seconds(),
    default="5s",
    show_default=True,
    help="With --watch: how long to wait between two looks.",
)
@click.argument("saved", metavar="[PLAN]", required=False, type=click.Path(path_type=Path))
def apply(
    file: Path | None,
    yes: bool,
    port_offset: int | None,
    mode: Mode,
    format: Format,
    watch: bool,
    every: float,
    saved: Path | None,
) -> int:
    """Make the cluster as the spec says, and wait until all of it is healthy.

    PLAN is a file of `dctl infra plan --out`: it is carried out without asking, or refused when
    anything has moved since.

    \b
      dctl infra apply -y                              the nearest draft.yaml's cluster
      dctl infra apply -f blueprints/local.yaml -y     another one
      dctl infra apply p.json                          exactly what was planned
      dctl infra apply --service cart --host "edge-*"  a part of it, all else as it is
      dctl infra apply -y --watch                      keep it so until Ctrl-C
    """
    if saved and port_offset is not None:
        raise UsageError(
            "a saved plan has its ports already", hint="give --port-offset to: dctl infra plan"
        )
    if saved and scope():
        raise UsageError(
            "a saved plan has its services and hosts already",
            hint="give --service and --host to: dctl infra plan",
        )
    if mode == "auto" and format != "table":
        mode = "json"
    cluster, made = _saved(saved, file) if saved else _planned(file, port_offset)
    if watch and made.scope:
        raise UsageError(
            "a watch is over the whole cluster",
            hint="apply the part, then: dctl infra apply --watch",
        )
    began = time.monotonic()
    carry_out(cluster, made, cluster.apply, mode, ask="" if yes or saved else "Apply to")
    show_status(cluster, cluster.status(made.scope), format)
    if format == "table":
        _what_next(cluster, made, time.monotonic() - began)
    if watch:
        _watch(cluster, made, every)
    return ExitCode.OK


def _planned(file: Path | None, port_offset: int | None) -> tuple[OpenCluster, Plan]:
    cluster = opened(file)
    return cluster, cluster.plan(port_offset=port_offset, scope=scope())


def _saved(path: Path, file: Path | None) -> tuple[OpenCluster, Plan]:
    from dctl.engine.saved import load

    saved = load(path)
    cluster = opened(file or saved.spec, saved.variant)
    return cluster, cluster.plan_saved(saved)


def carry_out(
    cluster: OpenCluster,
    made: Plan,
    do: Callable[..., Result],
    mode: Mode,
    *,
    ask: str,
) -> None:
    """Show the plan, ask (unless `ask` is empty), carry it out with `do` and prove that nothing is
    left of it. Raises for whatever went wrong."""
    from dctl.engine.preflight import preflight
    from dctl.render.plan import plan_counts, plan_text
    from dctl.render.progress import progress

    if made.to_do:
        click.echo(plan_text(made, source=str(cluster.source)), err=True)
    problems = preflight(made, cluster.readers)
    if problems:
        raise PortTakenError("\n".join(problems), hint="stop it, or move ours: --port-offset 100")
    if made.to_do and ask:
        confirm(f"{ask} {cluster.name}?")
    listener: Callable[[Event], None]
    with progress(made, mode) as listener:
        result = do(made, on_event=listener)
    if result.interrupted:
        raise KeyboardInterrupt
    if result.silent and not (result.done or result.failures or result.not_done):
        refuse_silent(result.silent)
    if not result.ok:
        raise PartlyAppliedError(
            _what_failed(result),
            hint="mend it, then: dctl infra apply; or back to what was good: dctl infra rollback",
        )
    for host, why in result.abandoned.items():
        click.echo(
            f"warning: {host} is no longer a host of {cluster.source}, and out of reach ({why}):"
            " what runs there is left as it is, and not looked for any more; to end it, put the"
            " host back with nothing placed on it, and apply",
            err=True,
        )
    left = cluster.compare(made.asked, made.scope)
    if left.changed:
        raise DctlError(
            f"applied, but the cluster is not as asked yet: {plan_counts(left)}",
            hint="dctl infra plan shows what differs",
        )


def _watch(cluster: OpenCluster, made: Plan, every: float) -> None:
    from dctl.commands.infra.signals import Ending
    from dctl.engine.watch import watch
    from dctl.render.times import span
    from dctl.render.watch import print_note

    with Ending() as stop:
        click.echo(f"watching {cluster.name} every {span(every)}; Ctrl-C ends it", err=True)
        watch(cluster, made.asked, every=every, stop=stop, tell=print_note)
    click.echo(f"{cluster.name} is no longer watched; it goes on running", err=True)


def _what_next(cluster: OpenCluster, made: Plan, took: float) -> None:
    from dctl.render.plan import plan_counts
    from dctl.render.times import span

    what = part_of(cluster.name, made.scope)
    click.echo(f"\n{what} is healthy ({plan_counts(made)}; {span(took)}).", err=True)
    click.echo("Try next:  dctl ps    dctl kv set greeting hello    dctl tui", err=True)


def _what_failed(result: Result) -> str:
    from dctl.engine.step import Role

    lines: list[str] = []
    for failure in result.failures:
        step = failure.step
        what = f"{step.verdict.action} failed" if step.changes else "is not well"
        lines.append(f"{step.name} on {step.host}: {what}: {failure.reason}")
        lines += [f"    | {line}" for line in failure.tail]
    lines += [f"{host} was left as it is: {why}" for host, why in result.silent.items()]
    if result.halted:
        lines.append(f"ended before its end: {result.halted}")
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
