"""dctl context: workspaces, and names for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from dctl.commands.options import context_option, output_option, workspace
from dctl.errors import UsageError

_COLUMNS = {"name": "name", "default": "default", "root": "root"}


@click.group()
def group() -> None:
    """Workspaces, and names for them.

    A workspace is a folder with a draft.yaml at its root. dctl means the one that you are in; `-c
    NAME` means another, and `context set NAME` says which one is meant outside of any.

    \b
      dctl context init --name shop --repo github.com/acme/shop      make one here
      dctl context import ../billing                                 one that is there already
      dctl context list
      dctl context set shop
      dctl infra status -c billing
    """


@group.command()
@click.option("--name", help="Its name: of its cluster and its protobuf packages, too.")
@click.option("--repo", help="Where it is kept, such as github.com/acme/shop.")
@click.option("--trunk-branch", default="main", show_default=True, help="Its main branch.")
@click.option("--package", help="The generated Python package [default: NAME_api].")
@output_option("table", "json")
def init(
    name: str | None, repo: str | None, trunk_branch: str, package: str | None, format: Any
) -> None:
    """Make the folder that you are in a workspace.

    Writes draft.yaml, cluster.yaml, api/buf.yaml and .gitignore; what is there already stays. What
    is not said is asked at a terminal.

    \b
      mkdir shop && cd shop && dctl context init --name shop --repo github.com/acme/shop
    """
    from dctl import contexts
    from dctl.scaffold.workspace import create, files, refuse_inside

    root = Path.cwd()
    refuse_inside(root)
    name = _name(name or _ask("name", "--name shop", _proposed(root.name)))
    repo = repo or _origin(root) or _ask("repo", "--repo github.com/acme/shop", "")
    package = _package(package or f"{name.replace('-', '_')}_api")
    contexts.refuse_other(name, root)
    written = create(root, files(name, repo, trunk_branch, package))
    contexts.add(name, root)
    if format == "json":
        from dctl.render.output import emit

        emit("Context", {"name": name, "root": str(root), "written": written}, format=format)
        return
    for file in written:
        click.echo(f"  + {file}", err=True)
    click.echo(f"{name} is a workspace now. Try next:  dctl api new orders.v1", err=True)


@group.command(name="import")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
def import_(folder: Path) -> None:
    """Remember the workspace around FOLDER (default: here) by its name.

    \b
      git clone git@github.com:acme/billing.git && dctl context import billing
    """
    from dctl import contexts
    from dctl.errors import NotFoundError
    from dctl.scaffold.workspace import write_schema
    from dctl.workspace import FILE, find_root, read_workspace

    root = find_root(folder)
    if root is None:
        raise NotFoundError(
            f"no {FILE} in {folder.absolute()} nor above it", hint="make one: dctl context init"
        )
    root = Path(os.path.normpath(root))
    found = read_workspace(root)
    contexts.add(found.name, root)
    if os.access(root, os.W_OK):
        write_schema(root)  # it is not committed
    click.echo(f"{found.name} is the workspace at {root}", err=True)


@group.command(name="set")
@click.argument("name", required=False)
@click.option("--none", is_flag=True, help="None: outside of a workspace a command says so.")
def set_(name: str | None, none: bool) -> None:
    """Say which workspace is meant outside of any.

    \b
      dctl context set shop
      dctl context set --none
    """
    from dctl import contexts

    if none == bool(name):
        raise UsageError("name a context, or none", hint="dctl context set shop, or: --none")
    contexts.choose(name or "")
    said = f"{name} is meant" if name else "no workspace is meant"
    click.echo(f"{said} outside of any", err=True)


@group.command(name="list")
@output_option()
def list_(format: Any) -> None:
    """All workspaces that have a name here."""
    from dctl import contexts
    from dctl.render.output import emit_list

    known = contexts.read()
    items = [
        {
            "name": name,
            "root": str(root),
            "default": name == known.default,
            "there": (root / "draft.yaml").is_file(),
        }
        for name, root in known.roots.items()
    ]
    if format == "table":
        items = [{**i, "root": f"{i['root']}{'' if i['there'] else ' (gone)'}"} for i in items]
    emit_list("ContextList", items, columns=_COLUMNS, format=format, empty="no context yet")


@group.command()
@context_option
@output_option("table", "json", "yaml")
def show(format: Any) -> None:
    """The workspace that is meant: what its draft.yaml says.

    \b
      dctl context show
      dctl context show -c billing -o json
    """
    from dctl.render.output import emit

    found = workspace()
    api = found.api
    item = {
        "name": found.name,
        "root": str(found.root),
        "repo": found.repo,
        "trunkBranch": found.trunk_branch,
        "cluster": str(found.cluster or ""),
        "environments": list(found.environments),
        "api": {
            "folder": str(api.folder),
            "package": api.package,
            "out": str(api.out),
            "languages": ["python", *api.languages],
        }
        if api
        else None,
    }
    if format != "table":
        emit("Context", item, format=format)
        return
    rows = {"name": found.name, "root": item["root"], "repo": found.repo or "-"}
    rows |= {"trunk branch": found.trunk_branch, "cluster": item["cluster"] or "-"}
    rows |= {"protos": f"{api.folder} -> {api.out / api.package}" if api else "-"}
    rows |= {"environments": ", ".join(found.environments) or "-"}
    for key, value in rows.items():
        click.echo(f"{key:<13} {value}")


def _ask(what: str, how: str, proposal: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            f"the {what} of the workspace is not said, and there is no terminal to ask at",
            hint=f"say it: dctl context init {how}",
        )
    said: str = click.prompt(f"{what} of the workspace", default=proposal or None, err=True)
    return said


def _name(name: str) -> str:
    import re

    if not re.fullmatch(r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?", name):
        raise UsageError(
            f'a workspace cannot be called "{name}"',
            hint='small letters, digits and "-", with a letter first',
        )
    return name


def _package(name: str) -> str:
    import re

    from dctl.protos.build import RESERVED

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) or name in {
        *RESERVED,
        *sys.stdlib_module_names,
    }:
        raise UsageError(
            f'the generated package cannot be called "{name}"',
            hint="small letters, digits and _, and nobody else's name: --package shop_api",
        )
    return name


def _proposed(folder: str) -> str:
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.lower()).strip("-")
    return name if name[:1].isalpha() else ""


def _origin(root: Path) -> str:
    """Where git says that the folder comes from."""
    try:
        done = subprocess.run(
            ["git", "remote", "get-url", "origin"],
            cwd=root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    url = done.stdout.strip() if done.returncode == 0 else ""
    url = url.removesuffix(".git").removeprefix("https://").removeprefix("ssh://")
    return url.rpartition("@")[2].replace(":", "/", 1) if "@" in url else url
