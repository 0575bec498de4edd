"""`dctl schema`: the JSON Schema of the cluster spec."""

from __future__ import annotations

import json

import click


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the cluster spec, for editors that check while you type.

    \b
      mkdir -p .draft && dctl schema > .draft/cluster.schema.json
      # first line of the spec:
      # yaml-language-server: $schema=.draft/cluster.schema.json
    """
    from dctl.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
