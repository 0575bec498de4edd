"""`dctl config`: the cluster spec as dctl reads it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from dctl.commands.options import output_option, spec_option, variant


@click.command("config")
@spec_option
@click.option(
    "--show-origin", is_flag=True, help="Say with each value in which file and line it stands."
)
@output_option("yaml", "json")
def command(file: Path | None, show_origin: bool, format: Literal["yaml", "json"]) -> None:
    """Check the spec and print it as dctl reads it: files merged, variables replaced.

    Secrets stay references, and variables that look like secrets, by their name or the key that
    they stand under, stay variables. The YAML is a spec again.

    \b
      dctl config
      dctl config -e prod --show-origin           # which file says what
      dctl config -f cluster.yaml -o json
    """
    from dctl.render.output import emit
    from dctl.render.spec import commented, escaped, origins, told
    from dctl.workspace import load_spec

    loaded = load_spec(file, variant())
    if show_origin and format == "json":
        emit("ClusterOrigins", {"items": list(origins(loaded.tree))}, format=format)
    elif show_origin:
        from ruamel.yaml import YAML

        yaml = YAML()
        yaml.width = sys.maxsize  # a comment belongs to one line
        yaml.dump(commented(loaded.tree), sys.stdout)
    else:
        data = told(loaded.tree)
        emit("Cluster", escaped(data) if format == "yaml" else data, format=format)
