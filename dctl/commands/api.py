"""`dctl api`: the workspace's protobufs to a typed Python package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.options import context_option, output_option, workspace
from dctl.errors import DctlError, NotFoundError
from dctl.text import printable

if TYPE_CHECKING:
    from dctl.protos.asked import Asked
    from dctl.protos.build import BuildResult
    from dctl.workspace import Api, Workspace

_DIFF = 40  # lines that are shown of what was edited by hand


@click.group()
def group() -> None:
    """Turn the workspace's .proto files into a typed Python package, and check them.

    \b
      dctl api new orders.v1   a proto to begin with
      dctl api build           check, and generate what has changed
      dctl api lint            style and layout, by buf.yaml
      dctl api breaking        what would break a client that is out there
    """


@group.command()
@context_option
def init() -> None:
    """Begin with protos in this workspace: a place in draft.yaml, rules for buf; check the tools.

    \b
      dctl api init
    """
    from dctl.protos.tools import buf_version, versions
    from dctl.scaffold.workspace import files

    found = workspace()
    for tool, version in {**versions(), "buf": buf_version()}.items():
        click.echo(f"  {tool} {version}", err=True)
    if found.api is None:
        package = f"{found.proto_package}_api"
        draft = found.root / "draft.yaml"
        text = draft.read_text(encoding="utf-8")
        line = f"api: {{folder: api, package: {package}, out: api/gen}}\n"
        draft.write_text(text + "\n" * (not text.endswith("\n")) + line, encoding="utf-8")
        click.echo("  + draft.yaml: api", err=True)
        found = workspace()
    assert found.api is not None
    rules = found.api.folder / "buf.yaml"
    if not rules.exists():
        rules.parent.mkdir(parents=True, exist_ok=True)
        rules.write_text(files("", "", "", "")["api/buf.yaml"], encoding="utf-8")
        click.echo(f"  + {_shown(rules)}", err=True)
    click.echo("Try next:  dctl api new orders.v1", err=True)


@group.command()
@click.argument("name")
@context_option
def new(name: str) -> None:
    """Write a proto with a service to begin with.

    NAME is the package without the workspace's own, which comes first, and with a version.

    \b
      dctl api new orders.v1               shop.orders.v1 in api/shop/orders/v1/orders.proto
      dctl api new billing.invoices.v1
    """
    from dctl.scaffold.proto import new_proto

    found, api = _api()
    made = new_proto(found.proto_package, name)
    path = api.folder / made.path
    if path.exists():
        raise DctlError(f"{_shown(path)} is there already", hint="choose another name or version")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.text, encoding="utf-8")
    click.echo(_shown(path))
    click.echo(f"{made.package} has a service {made.service}. Then:  dctl api build", err=True)


@group.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when the package is not fresh.")
@click.option("--force", is_flag=True, help="Also what was edited by hand since it was generated.")
@click.option("--unchecked", is_flag=True, help="Without lint, and without a look at the baseline.")
@context_option
@output_option("table", "json")
def build(check: bool, force: bool, unchecked: bool, format: Any) -> None:
    """Check the protos and generate the package that draft.yaml names under `api:`.

    What breaks a rule of buf.yaml, or a client of the baseline (if there is one), is generated only
    with --unchecked. When nothing has changed nothing is run or written.

    \b
      dctl api build
      dctl api build --check     in CI: was it forgotten, or edited by hand?
    """
    from dctl.protos.build import build
    from dctl.protos.check import BASELINE, breaking, lint

    asked = _asked()
    folder, further = asked.folder, asked.further()
    for words in asked.missing:
        click.echo(words, err=True)

    def before() -> None:
        if not unchecked:
            lint(folder)
            if (folder / BASELINE).is_file():
                breaking(folder)

    result = build(
        folder,
        asked.out,
        asked.package,
        stamp_file=asked.stamp,
        check=check,
        force=force,
        before=before,
        further=further,
    )
    if result.edited and not (force or check):
        _refuse_edited(result)
    _show(result, format, check)
    if check and not result.fresh:
        raise DctlError(_stale(result), hint="dctl api build")


@group.command()
@context_option
def lint() -> None:
    """Check the protos against the rules of buf.yaml."""
    from dctl.protos.check import lint

    _, api = _api()
    lint(api.folder)
    click.echo(f"{_shown(api.folder)} keeps every rule", err=True)


@group.command()
@click.option("--check", is_flag=True, help="Write nothing; fail when a file would change.")
@context_option
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
@context_option
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
@context_option
def clean() -> None:
    """Remove the generated package."""
    from dctl.protos.asked import stamp_file
    from dctl.protos.build import clean

    found, api = _api()
    removed = clean(api.out, api.package, stamp_file=stamp_file(found.root, api.package))
    click.echo(f"{_count(len(removed), 'file')} removed", err=True)


@group.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write it [default: .draft/NAME.binpb in the workspace].",
)
@context_option
def descriptor(out: Path | None) -> None:
    """Write the protos' descriptor set, of which Envoy and others read what there is to call.

    \b
      dctl api descriptor
      dctl api descriptor --out shop.binpb
    """
    from dctl.protos.check import descriptor

    found, api = _api()
    target = out or found.root / ".draft" / f"{found.name}.binpb"
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor(api.folder, target)
    click.echo(_shown(target))


@group.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file to write it to [default: stdout].",
)
@context_option
def docs(out: Path | None) -> None:
    """A reference of the protos in Markdown, from their comments.

    \b
      dctl api docs
      dctl api docs --out docs/api.md
    """
    from dctl.protos.build import descriptors
    from dctl.protos.reference import page

    found, api = _api()
    text = page(found.name, descriptors(api.folder), lambda name: (api.folder / name).is_file())
    if out is None:
        click.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    click.echo(_shown(out))


def _api() -> tuple[Workspace, Api]:
    found = workspace()
    if found.api is None:
        raise NotFoundError(
            "draft.yaml names no protos",
            hint="begin with them: dctl api init, or add `api: {folder: api, package: NAME_api}`",
        )
    return found, found.api


def _refuse_edited(result: BuildResult) -> None:
    """What somebody wrote into a generated file is shown before it is lost."""
    for name, diff in result.edited.items():
        lines = diff.splitlines()
        click.echo(_shown(result.target / name), err=True)
        for line in lines[2 : 2 + _DIFF]:
            click.echo(f"  {printable(line)}", err=True)
        if len(lines) > 2 + _DIFF:
            click.echo(f"  ... {len(lines) - 2 - _DIFF} lines more", err=True)
    raise DctlError(
        f"{_count(len(result.edited), 'generated file')} edited by hand; nothing was written",
        hint="put the change into the proto, or a module of your own; or lose it: --force",
    )


def _asked() -> Asked:
    """What there is to build, without reading draft.yaml once more where it is unchanged."""
    from dctl.protos.asked import asked, remembered
    from dctl.workspace import find_root

    here = None if click.get_current_context().meta.get("dctl.context") else find_root(Path.cwd())
    return (here and remembered(here)) or asked(_api()[0])


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
                "also": list(result.also),
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
            f"{len(result.removed)} removed, {result.unchanged} unchanged"
            + "".join(f"; {_shown(result.target.parent / name)} anew" for name in result.also),
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
