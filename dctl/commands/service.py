"""dctl service: services of the workspace."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dctl.commands.options import context_option, workspace
from dctl.errors import DctlError, SpecError, UsageError

if TYPE_CHECKING:
    from dctl.scaffold.service import Proto
    from dctl.workspace import Workspace

_NAME = re.compile(r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?")


@click.group()
def group() -> None:
    """Services of the workspace.

    \b
      dctl service new orders
    """


@group.command()
@click.argument("name")
@context_option
def new(name: str) -> None:
    """Write a service to begin with, and register it in the cluster spec.

    It implements the proto of its name, if there is one (shop.orders.v1 for orders in shop), and
    has a test. NAME may say the domain, too: a folder under services/ [default: the workspace's
    name].

    \b
      dctl service new orders              services/shop/orders
      dctl service new billing/invoices    services/billing/invoices
    """
    from dctl.scaffold.service import files

    found = workspace()
    domain, _, bare = name.rpartition("/")
    domain = domain or found.name
    for part in (*domain.split("/"), bare):
        if not _NAME.fullmatch(part):
            raise UsageError(
                f'a service cannot be called "{name}"',
                hint='small letters, digits and "-", with a letter first: orders, billing/invoices',
            )
    folder = found.root / "services" / domain / bare
    if folder.exists() and any(folder.iterdir()):
        raise DctlError(f"{os.path.relpath(folder)} is there already", hint="choose another name")
    proto = _proto(found, domain, bare)
    contents = files(bare, proto)
    _register(found, bare, folder.relative_to(found.root).as_posix())
    for file, text in contents.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text, encoding="utf-8")
        click.echo(os.path.relpath(folder / file))
    if proto is None:
        click.echo(f"no proto is called so; for one:  dctl api new {bare}.v1", err=True)
    elif found.api and not (found.api.out / found.api.package).is_dir():
        click.echo("its proto is not generated yet:  dctl api build", err=True)
    click.echo(f"Try next:  dctl run -s {domain}/{bare}", err=True)


def _proto(found: Workspace, domain: str, name: str) -> Proto | None:
    from dctl.protos.build import descriptors
    from dctl.scaffold.service import find_proto

    if found.api is None or not any(found.api.folder.rglob("*.proto")):
        return None
    own = found.proto_package
    parts = [*domain.split("/"), name]
    names = ".".join(part.replace("-", "_") for part in parts)
    known = descriptors(found.api.folder)
    wanted = (names, f"{own}.{names}", f"{own}.{name.replace('-', '_')}")
    tries = (find_proto(known, found.api.package, one) for one in wanted)
    return next((proto for proto in tries if proto), None)


def _register(found: Workspace, name: str, folder: str) -> None:
    """Put it into the spec; SpecError, and the spec as it was, when that does not hold with it."""
    from dctl.engine.catalogue.parts import CORE_PARTS
    from dctl.hosts.state.files import write_whole
    from dctl.scaffold.spec import flow, with_service
    from dctl.spec import load
    from dctl.workspace import cluster_of, load_spec

    path = cluster_of(found)
    spec = load_spec(path).cluster
    if name in CORE_PARTS or name in spec.infra or name in spec.services:
        what = "a core service" if name in CORE_PARTS else f"in {os.path.relpath(path)} already"
        raise DctlError(f'"{name}" is {what}', hint="choose another name")
    needs = {p: "healthy" for p in ("blueprint", "fuse") if getattr(spec.core, p) is not False}
    entry = {"run": folder, **({"depends_on": flow(needs)} if needs else {})}
    before = path.read_text(encoding="utf-8")
    after = with_service(before, name, entry)
    trial = path.with_name(f".{path.name}.{os.getpid()}")
    (found.root / folder).mkdir(parents=True, exist_ok=True)
    main = found.root / folder / "main.py"
    main.touch()  # a spec names nothing that is not there
    try:
        trial.write_text(after, encoding="utf-8")
        load(trial, root=found.root)
    except SpecError:
        _undo(main, found.root)
        raise
    finally:
        trial.unlink(missing_ok=True)
    mode = path.stat().st_mode & 0o777
    write_whole(path, after)
    path.chmod(mode)
    click.echo(os.path.relpath(path))


def _undo(main: Path, root: Path) -> None:
    main.unlink(missing_ok=True)
    for folder in main.parents:
        if folder == root or any(folder.iterdir()):
            break
        folder.rmdir()
