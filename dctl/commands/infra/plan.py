"""dctl infra plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.group import group, opened, refuse_silent
from dctl.commands.options import output_option, scope, scope_options, spec_option, variant
from dctl.errors import ExitCode

if TYPE_CHECKING:
    from dctl.render.output import Format

offset_option = click.option(
    "--port-offset",
    type=click.IntRange(0, 50_000),
    help="Move every port of the cluster by this much; it stays moved.",
)


@group.command()
@spec_option
@scope_options
@output_option("table", "json", "yaml")
@offset_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit 2 when there are changes.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep the plan in this file, for: dctl infra apply FILE.",
)
def plan(
    file: Path | None,
    format: Format,
    port_offset: int | None,
    detailed_exitcode: bool,
    out: Path | None,
) -> int:
    """Show what an apply would do, and change nothing.

    \b
      dctl infra plan --out p.json     keep it (only you can read it: environments are in it)
      dctl infra apply p.json          do exactly this, or refuse when something moved
      dctl infra plan --service cart   of one service, and of what it needs that is not there
    """
    from dctl.engine.preflight import preflight
    from dctl.render.output import emit
    from dctl.render.plan import plan_text

    cluster = opened(file)
    made = cluster.plan(port_offset=port_offset, scope=scope())
    if format == "table":
        click.echo(plan_text(made, source=str(cluster.source)))
    else:
        emit("Plan", made.to_json(), format=format)
    for problem in preflight(made, cluster.readers):
        click.echo(f"warning: apply would refuse: {problem}", err=True)
    refuse_silent(made.silent)
    if out is not None:
        from dctl.engine.saved import save

        save(out, made, spec=cluster.source, variant=variant(), port_offset=port_offset)
        click.echo(f"kept in {out}; carry it out: dctl infra apply {out}", err=True)
    return ExitCode.CHANGES if detailed_exitcode and made.to_do else ExitCode.OK
