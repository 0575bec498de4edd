"""dctl infra start, stop, restart, exec, down, destroy, clean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands import completing
from dctl.commands.infra.group import confirm, group, opened
from dctl.commands.options import scope, scope_options, spec_option, yes_option
from dctl.errors import UsageError

if TYPE_CHECKING:
    from dctl.engine.operate import Verb


def _add(verb: Verb, help: str) -> None:
    @group.command(name=verb, help=help)
    @spec_option
    @scope_options
    @click.argument("names", nargs=-1, shell_complete=completing.services)
    def command(file: Path | None, names: tuple[str, ...]) -> None:
        def say(done: str) -> None:
            click.echo(f"  {verb:<8} {done}", err=True)

        opened(file).operate(verb, names, say, scope())


_add("start", "Start what was stopped: NAMES, or everything.")
_add("stop", "Stop NAMES, or everything; it stays stopped, and that is no drift.")
_add("restart", "Restart NAMES, or everything.")


@group.command(name="exec", context_settings={"allow_interspersed_args": False})
@spec_option
@click.argument("name", shell_complete=completing.services)
@click.argument("command", nargs=-1, required=True, metavar="-- COMMAND...")
def exec_(file: Path | None, name: str, command: tuple[str, ...]) -> int:
    """Run a command beside a service (or one instance of it), as it runs itself.

    It has the environment and the folder of the process, or is in its container; and your terminal
    or pipes. Exits with the command's own exit code.

    \b
      dctl infra exec echo -- sh
      dctl infra exec cart-2 -- python3 migrate.py < dump.sql
    """
    argv = command[1:] if command[0] == "--" else command
    if not argv:
        raise UsageError("no command to run", hint=f"dctl infra exec {name} -- sh")
    return opened(file).execute(name, argv)


@group.command()
@spec_option
def down(file: Path | None) -> None:
    """Stop the whole cluster and its supervisor. Everything is kept; apply brings it back."""
    cluster = opened(file)
    cluster.end("down")
    click.echo(f"{cluster.name} is down; its data is kept. Up again: dctl infra apply", err=True)


@group.command()
@spec_option
@yes_option
def destroy(file: Path | None, yes: bool) -> None:
    """Remove all that runs. Data, logs and history stay."""
    cluster = opened(file)
    if not yes:
        confirm(f"Remove everything that runs in {cluster.name}?")
    cluster.end("destroy")
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
    cluster.end("clean" if full else "destroy")
    click.echo(
        f"nothing of {cluster.name} is left" if full else f"{cluster.name} is gone", err=True
    )
