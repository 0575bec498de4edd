"""The group of `dctl infra`, and what its commands share."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.options import variant
from dctl.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from dctl.engine.cluster import OpenCluster
    from dctl.engine.scope import Scope
    from dctl.spec.variant import Variant


@click.group()
def group() -> None:
    """Plan, apply and watch over a cluster.

    \b
      dctl infra plan               what an apply would do
      dctl infra apply              do it
      dctl infra status             what runs where, and how it feels
      dctl infra logs -f echo       follow what a service prints
      dctl infra history            who changed what, and how it ended
      dctl infra rollback           back to the last good release
    """


def opened(file: Path | None, meant: Variant | None = None) -> OpenCluster:
    """The cluster of the spec that is meant, in the variant of the command line or in `meant`; long
    work is told on stderr."""
    from dctl.engine.cluster import open_cluster
    from dctl.render.narration import narrator

    return open_cluster(file, meant or variant(), say=narrator)


def part_of(cluster: str, scope: Scope) -> str:
    """What was meant, in words: the cluster, or a part of it."""
    return f"{cluster} ({scope})" if scope else cluster


def refuse_silent(silent: Mapping[str, str]) -> None:
    """Raise when there are hosts that do not answer; what there is to know of the others was
    told."""
    if silent:
        raise UnreachableError("\n".join(silent.values()), hint="what is there is left as it is")


def confirm(question: str) -> None:
    """Ask a person; without a terminal it fails and says how to say yes."""
    if not sys.stdin.isatty():
        raise UsageError(
            "this changes the cluster, and there is no terminal to ask at",
            hint="say yes with -y or DCTL_YES=1",
        )
    click.confirm(question, abort=True, err=True)
