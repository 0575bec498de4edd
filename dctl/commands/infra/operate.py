"""dctl infra start, stop, restart, down, destroy, clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.infra.group import confirm, group, opened
from dctl.commands.options import spec_option, yes_option

if TYPE_CHECKING:
    from dctl.engine.cluster import Verb


def _add(verb: Verb, help: str) -> None:
    @group.command(name=verb, help=help)
    @spec_option
    @click.argument("names", nargs=-1)
    def command(file: Path | None, names: tuple[str, ...]) -> None:
        opened(file).operate(verb, names, lambda done: click.echo(f"  {verb:<8} {done}", err=True))


_add("start", "Start what was stopped: NAMES, or everything.")
_add("stop", "Stop NAMES, or everything; it stays stopped, and that is no drift.")
_add("restart", "Restart NAMES, or everything.")


@group.command()
@spec_option
def down(file: Path | None) -> None:
    """Stop the whole cluster and its supervisor. Everything is kept; apply brings it back."""
    cluster = opened(file)
    cluster.hosts()["local"].down()
    click.echo(f"{cluster.name} is down; its data is kept. Up again: dctl infra apply", err=True)


@group.command()
@spec_option
@yes_option
def destroy(file: Path | None, yes: bool) -> None:
    """Remove all that runs. Data, logs and history stay."""
    cluster = opened(file)
    if not yes:
        confirm(f"Remove everything that runs in {cluster.name}?")
    cluster.hosts()["local"].clean(full=False)
    click.echo(f"{cluster.name} is gone; its data is kept", err=True)


@group.command()
@spec_option
@yes_option
@click.option("--full", is_flag=True, help="Also data, logs and history: nothing is left.")
def clean(file: Path | None, yes: bool, full: bool) -> None:
    """Remove the cluster from this machine; with --full, every file of it too."""
    cluster = opened(file)
    if not yes:
        confirm(f"Remove {cluster.name}{' and all of its data' if full else ''}?")
    cluster.hosts()["local"].clean(full=full)
    click.echo(
        f"nothing of {cluster.name} is left" if full else f"{cluster.name} is gone", err=True
    )
