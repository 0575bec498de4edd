"""`dctl explain`: what the keys of a cluster spec mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dctl.commands.options import output_option

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dctl.spec.kinds import Field, Found


def _paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from dctl.errors import NotFoundError
    from dctl.spec.kinds import find

    above, dot, _ = incomplete.rpartition(".")
    try:
        kind = find(above).kind
    except NotFoundError:
        return []
    names = [f"{above}{dot}{field.key}" for field in kind.fields]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("explain")
@click.argument("path", required=False, default="", shell_complete=_paths)
@output_option("table", "json")
def command(path: str, format: Any) -> None:
    """What a key of the cluster spec means, what it may hold, and an example of it.

    PATH is the key with dots between, as in a spec (a name that you choose is any word), or a kind
    alone.

    \b
      dctl explain                        the whole spec
      dctl explain services.cart.health
      dctl explain core.nats
      dctl explain route                  a kind by its name
    """
    from dctl.render.output import emit
    from dctl.spec.kinds import find, lines_of

    found = find(path)
    if format == "json":
        fields = [found.field] if found.field else found.kind.fields
        emit(
            "Explanation",
            {
                "path": found.path,
                "of": found.kind.name,
                "meaning": found.kind.meaning,
                "fields": [_document(field) for field in fields],
                "example": "\n".join(lines_of(found.kind.example)),
            },
            format=format,
        )
        return
    _show(found)


def _show(found: Found) -> None:
    from dctl.render.output import paint, table
    from dctl.spec.kinds import lines_of

    kind, field = found.kind, found.field
    if field is not None:
        click.echo(paint(found.path, bold=True) + f"  {field.shape.plain}{_mark(field)}")
        if field.meaning:
            click.echo(f"  {field.meaning}")
        click.echo(f"  one of the keys of {kind.name}: {kind.meaning}")
    else:
        click.echo(paint(found.path or "the whole spec", bold=True) + f"  {kind.name}")
        if kind.meaning:
            click.echo(f"  {kind.meaning}")
        click.echo()
        rows = [[f.key, f.shape.plain, _told_default(f), f.meaning] for f in kind.fields]
        table(["key", "value", "default", "meaning"], rows)
    click.echo()
    for line in lines_of(kind.example):
        click.echo(f"  {line}" if line else "")


def _mark(field: Field) -> str:
    told = _told_default(field)
    return f" ({told})" if field.required else f" (default: {told})" if told else ""


def _told_default(field: Field) -> str:
    return "required" if field.required else field.default.strip('"')


def _document(field: Field) -> dict[str, Any]:
    import json

    return {
        "key": field.key,
        "value": field.shape.plain,
        "required": field.required,
        "default": json.loads(field.default) if field.default else None,
        "meaning": field.meaning,
    }
