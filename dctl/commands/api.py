"""`dctl api`: the workspace's protobufs to a typed Python package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.options import output_option
from dctl.errors import DctlError, NotFoundError

if TYPE_CHECKING:
    from dctl.protos.build import BuildResult
    from dctl.workspace import Api, Workspace


@click.group()
def group() -> None:
    """Turn the workspace's .proto files into a typed Python package, and check them.

    \b
      dctl api build           generate what has changed
      dctl api lint            style and layout, by buf.yaml
      dctl api breaking        what would break a client that is out there
    """


@group.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when the package is not fresh.")
@output_option("table", "json")
def build(check: bool, format: Any) -> None:
    """Generate the package that draft.yaml names under `api:`.

    \b
      dctl api build
      dctl api build --check     in CI: was it forgotten, or edited by hand?
    """
    from dctl.protos.build import build

    workspace, api = _api()
    result = build(api.folder, api.out, api.package, stamp_file=_stamp(workspace, api), check=check)
    _show(result, format, check)
    if check and not result.fresh:
        raise DctlError(_stale(result), hint="dctl api build")


@group.command()
def lint() -> None:
    """Check the protos against the rules of buf.yaml."""
    from dctl.protos.check import lint

    _, api = _api()
    lint(api.folder)
    click.echo(f"{_shown(api.folder)} keeps every rule", err=True)


@group.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file would change.")
def format(check: bool) -> None:
    """Lay the protos out in the one way."""
    from dctl.protos.check import format

    _, api = _api()
    changed = format(api.folder, check=check)
    for path in changed:
        click.echo(_shown(path))
    if check and changed:
        raise DctlError(f"{_count(len(changed), 'file')} not formatted", hint="dctl api format")


@group.command()
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Descriptor set to compare with [default: baseline.binpb beside the protos].",
)
@click.option("--update", is_flag=True, help="Make the protos as they are the new baseline.")
def breaking(against: Path | None, update: bool) -> None:
    """Find changes that break clients built from the baseline.

    \b
      dctl api breaking
      dctl api breaking --update     after a release
    """
    from dctl.protos.check import breaking, update_baseline

    _, api = _api()
    if update:
        click.echo(_shown(update_baseline(api.folder)))
        return
    breaking(api.folder, against=against)
    click.echo("nothing breaks a client of the baseline", err=True)


@group.command()
def clean() -> None:
    """Remove the generated package."""
    from dctl.protos.build import clean

    workspace, api = _api()
    removed = clean(api.out, api.package, stamp_file=_stamp(workspace, api))
    click.echo(f"{_count(len(removed), 'file')} removed", err=True)


def _api() -> tuple[Workspace, Api]:
    from dctl.workspace import find_workspace

    workspace = find_workspace()
    if workspace.api is None:
        raise NotFoundError(
            "draft.yaml names no protos", hint="add to it `api: {folder: api, package: NAME_api}`"
        )
    return workspace, workspace.api


def _stamp(workspace: Workspace, api: Api) -> Path:
    return workspace.root / ".draft" / f"{api.package}.stamp"


def _show(result: BuildResult, format: Any, check: bool) -> None:
    if format == "json":
        from dctl.render.output import emit

        emit(
            "ApiBuild",
            {
                "package": result.target.name,
                "folder": _shown(result.target),
                "fresh": result.fresh,
                "protos": result.protos,
                "written": list(result.written),
                "removed": list(result.removed),
                "unchanged": result.unchanged,
            },
            format=format,
        )
    elif result.fresh:
        click.echo(f"{_shown(result.target)} is fresh ({_count(result.protos, 'proto')})", err=True)
    elif not check:
        for mark, names in (("+", result.written), ("-", result.removed)):
            for name in names:
                click.echo(f"  {mark} {name}", err=True)
        click.echo(
            f"{_shown(result.target)}: {len(result.written)} written, "
            f"{len(result.removed)} removed, {result.unchanged} unchanged",
            err=True,
        )


def _stale(result: BuildResult) -> str:
    lines = [f"{_shown(result.target)} is not what its protos give"]
    lines += [f"  {_shown(result.target / n)}: older, missing or edited" for n in result.written]
    lines += [f"  {_shown(result.target / n)}: no proto gives it" for n in result.removed]
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _shown(path: Path) -> str:
    return os.path.relpath(path)
