"""`dctl config`: the cluster spec as dctl reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dctl.commands.options import output_option, spec_option


@click.command("config")
@spec_option
@output_option("yaml", "json")
def command(file: Path | None, format: Any) -> None:
    """Check the spec and print it with inventories merged and variables replaced.

    Secrets stay references. The YAML is a spec again.

    \b
      dctl config
      dctl config -f cluster.yaml -o json
    """
    from dctl.render.output import emit
    from dctl.workspace import load_spec

    data = load_spec(file).data
    emit("Cluster", escaped(data) if format == "yaml" else data, format=format)


def escaped(value: Any) -> Any:
    """Dollars doubled, so that reading the output replaces nothing."""
    if isinstance(value, dict):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escaped(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
