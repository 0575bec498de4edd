"""dctl tui: the cluster, live."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dctl.commands.options import spec_option, variant
from dctl.errors import UsageError

# The names of dctl/tui/views.py; a test holds them equal (importing it here would cost 0.3 s).
VIEW_NAMES = ("services", "registry", "routes", "keys", "events")


@click.command()
@spec_option
@click.option("--view", type=click.Choice(VIEW_NAMES), default="services", show_default=True)
@click.option(
    "--snapshot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one picture of the view (.svg or .txt) and end.",
)
def command(file: Path | None, view: str, snapshot: Path | None) -> None:
    """The cluster, live: services, registry, routes, keys, events and logs.

    \b
      dctl tui                                          ? shows the keys
      dctl tui --snapshot now.txt --view registry       a picture for a report
    """
    if snapshot is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("there is no terminal to draw on", hint="dctl tui --snapshot FILE")

    from dctl.engine.cluster import open_cluster
    from dctl.tui.app import DraftApp
    from dctl.tui.feeds import run_feeds
    from dctl.tui.store import Store

    app = DraftApp(open_cluster(file, variant()), Store(), run_feeds, view=view)
    if snapshot is None:
        app.run()
        return
    from dctl.tui.snapshot import save

    save(app, snapshot)
    click.echo(f"wrote {snapshot}", err=True)
