"""The group of `dctl infra`, and what its commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.options import variant
from dctl.errors import UsageError

if TYPE_CHECKING:
    from dctl.engine.cluster import OpenCluster


@click.group()
def group() -> None:
    """Plan, apply and watch over a cluster.

    \b
      dctl infra plan               what an apply would do
      dctl infra apply              do it
      dctl infra status             what runs where, and how it feels
      dctl infra logs -f echo       follow what a service prints
    """


def opened(file: Path | None) -> OpenCluster:
    """The cluster of the spec that is meant; long work is told on stderr."""
    from dctl.engine.cluster import open_cluster

    return open_cluster(file, variant(), say=lambda text: click.echo(text, err=True))


def confirm(question: str) -> None:
    """Ask a person; without a terminal it fails and says how to say yes."""
    if not sys.stdin.isatty():
        raise UsageError(
            "this changes the cluster, and there is no terminal to ask at",
            hint="say yes with -y or DCTL_YES=1",
        )
    click.confirm(question, abort=True, err=True)
