"""`dctl release`: images, modules and notes for others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands import completing
from dctl.commands.options import (
    context_option,
    output_option,
    spec_option,
    variant,
    workspace,
    yes_option,
)
from dctl.errors import DctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from dctl.images import Image
    from dctl.release.git import Repository
    from dctl.release.versions import Part, Version
    from dctl.spec import Loaded
    from dctl.workspace import Workspace

_CORE = "core"
_SHOWN = 20  # files that are named


@click.group()
def group() -> None:
    """Give what you made to others: images, tagged modules, and what is new in them.

    \b
      dctl release module services/cart --minor     the tag services/cart/v1.4.0, pushed
      dctl release image cart --registry registry.example.com/shop
      dctl release notes                            what is not released yet
    """


@group.command()
@spec_option
@click.argument("services", nargs=-1, shell_complete=completing.services)
@click.option(
    "--registry",
    envvar="DCTL_REGISTRY",
    required=True,
    metavar="NAME",
    help="Where to, such as registry.example.com/shop (also DCTL_REGISTRY).",
)
@click.option(
    "--version",
    "wanted",
    metavar="X.Y.Z",
    help="Version of the images [default: that of the tags on the commit that is checked out].",
)
@output_option("table", "json")
def image(
    file: Path | None, services: tuple[str, ...], registry: str, wanted: str | None, format: Any
) -> None:
    """Build the images of SERVICES (none: of all, and the core's), tag and push them.

    An image is called REGISTRY/CLUSTER-SERVICE:VERSION, and `core` REGISTRY/draft-core with the
    version of dctl. It is made of committed files alone: with others in the way it is refused.

    \b
      dctl release image --registry registry.example.com/shop --version 1.4.0
      dctl release image cart         the version that `dctl release module` has given its folder
    """
    from dctl.images import build, push
    from dctl.images.names import released, released_core
    from dctl.release.git import repository
    from dctl.render.narration import narrator
    from dctl.workspace import load_spec

    loaded = load_spec(file, variant())
    chosen = _chosen(loaded, services)
    git = repository(loaded.root)
    _refuse_dirty(git)
    names = {
        name: released_core(registry, _own_version())
        if name == _CORE
        else released(registry, loaded.cluster.name, name, str(_version(git, loaded, name, wanted)))
        for name in chosen
    }
    items = []
    for name, made in _images(loaded, chosen).items():
        build(made, narrator)
        digest = push(made.tag, names[name], narrator)
        items.append({"service": name, "image": names[name], "digest": digest})
    from dctl.render.output import emit_list

    columns = {"service": "service", "image": "image", "digest": "digest"}
    emit_list("ReleasedImageList", items, columns=columns, format=format)


@group.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--major", "part", flag_value="major", help="What depends on it may break.")
@click.option("--minor", "part", flag_value="minor", help="There is something new.")
@click.option("--patch", "part", flag_value="patch", help="It is the same, and better.")
@click.option("--remote", default="origin", show_default=True, help="Where the tag is pushed to.")
@yes_option
@output_option("table", "json")
def module(path: Path, part: Part | None, remote: str, yes: bool, format: Any) -> None:
    """Give PATH its next version: a tag PATH/vX.Y.Z, as Go has it for modules, and push it.

    Refused with files that are not committed, on another branch than the trunk, behind the remote,
    and when nothing has changed since the last version.

    \b
      dctl release module services/cart            asks which
      dctl release module services/cart --minor -y
      dctl release module . --patch                the whole repository: vX.Y.Z
    """
    from dctl.release.git import repository
    from dctl.release.versions import FIRST, tag_of, versions_of
    from dctl.workspace import find_workspace

    space = find_workspace(path)
    git = repository(path if path.is_dir() else path.parent)
    inside = path.resolve().relative_to(git.root.resolve()).as_posix()
    inside = "" if inside == "." else inside
    _refuse_dirty(git)
    _refuse_other_branch(git, space)
    git.fetch(remote)
    _refuse_behind(git, remote, space)
    last = next(reversed(versions_of(inside, git.tags())), FIRST)
    if last != FIRST and not git.changed_since(tag_of(inside, last), inside):
        raise DctlError(f"nothing in {path} has changed since {tag_of(inside, last)}")
    version = last.next(part or _asked(last))
    _refuse_go(path, version)
    tag = tag_of(inside, version)
    if not yes:
        _confirm(f"Tag {git.commit()[:10]} as {tag} and push it to {remote}?")
    git.tag(tag, f"{inside or space.name} {version}")
    try:
        git.push_tag(remote, tag)
    except DctlError:
        git.forget(tag)  # so that it can be tried again
        raise
    from dctl.render.output import emit

    if format == "json":
        body = {"path": inside or ".", "version": str(version), "tag": tag, "commit": git.commit()}
        emit("ReleasedModule", body, format=format)
    else:
        click.echo(tag)


@group.command()
@context_option
@click.argument("version", default="Unreleased")
@click.option(
    "--changelog",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File [default: CHANGELOG.md at the workspace's root].",
)
@output_option("table", "json")
def notes(version: str, changelog: Path | None, format: Any) -> None:
    """What VERSION says of itself in CHANGELOG.md (the format is that of Keep a Changelog).

    \b
      dctl release notes
      dctl release notes 1.4.0
    """
    from dctl.release.changelog import notes_of

    if changelog is None:
        changelog = workspace().root / "CHANGELOG.md"
    if not changelog.is_file():
        raise NotFoundError(f"there is no {changelog}", hint="name another: --changelog FILE")
    found = notes_of(changelog.read_text(encoding="utf-8"), version, changelog.name)
    if format == "json":
        from dctl.render.output import emit

        body = {"version": found.version, "date": found.date or None, "text": found.text}
        emit("ReleaseNotes", {**body, "changes": dict(found.changes)}, format=format)
    else:
        from dctl.text import printable

        click.echo(printable(found.text, keep="\n\t"))


def _chosen(loaded: Loaded, services: tuple[str, ...]) -> list[str]:
    runs = [name for name, service in loaded.cluster.services.items() if service.run]
    for name in services:
        if name not in (*runs, _CORE):
            there = ", ".join((*runs, _CORE))
            raise NotFoundError(
                f'"{name}" is no service that is run from a folder', hint=f"there are: {there}"
            )
    return list(services) or [_CORE, *runs]


def _own_version() -> str:
    from dctl import __version__

    return __version__


def _version(git: Repository, loaded: Loaded, name: str, wanted: str | None) -> Version:
    """As asked for, else by a tag of the service's folder on this commit, else of the root."""
    from dctl.release.versions import parse, versions_of

    if wanted:
        return parse(wanted)
    folder = (loaded.root / str(loaded.cluster.services[name].run)).resolve()
    inside = folder.relative_to(git.root.resolve()).as_posix()
    here = git.tags(here=True)
    for path in (inside, ""):
        if found := versions_of(path, here):
            return found[-1]
    raise DctlError(
        f"{name} has no version: no tag {inside}/vX.Y.Z is on this commit",
        hint=f"dctl release module {inside}, or say it: --version 1.4.0",
    )


def _images(loaded: Loaded, chosen: list[str]) -> dict[str, Image]:
    from dctl.images import core_image, read_base, service_image
    from dctl.render.narration import narrator
    from dctl.workspace import generated

    base = read_base(loaded.cluster.images.base, narrator)
    api = generated(loaded.root)

    def made(name: str) -> Image:
        if name == _CORE:
            return core_image(base)
        folder = loaded.root / str(loaded.cluster.services[name].run)
        cluster = loaded.cluster.name
        return service_image(base, cluster=cluster, service=name, folder=folder, api=api)

    return {name: made(name) for name in chosen}


def _refuse_dirty(git: Repository) -> None:
    if dirty := git.dirty():
        shown = "\n  ".join(dirty[:_SHOWN])
        more = f"\n  and {len(dirty) - _SHOWN} more" if len(dirty) > _SHOWN else ""
        raise DctlError(
            f"what is released has to be committed, and this is not:\n  {shown}{more}",
            hint="git commit, or git stash --include-untracked",
        )


def _refuse_other_branch(git: Repository, workspace: Workspace) -> None:
    if (branch := git.branch()) != workspace.trunk_branch:
        raise DctlError(
            f"releases are made of {workspace.trunk_branch}, and this is"
            f" {f'the branch {branch}' if branch else 'no branch'}",
            hint=f"git switch {workspace.trunk_branch}; trunk_branch in draft.yaml says which",
        )


def _refuse_behind(git: Repository, remote: str, workspace: Workspace) -> None:
    branch = workspace.trunk_branch
    if behind := git.behind(remote, branch):
        raise DctlError(
            f"{remote}/{branch} has {behind} commit{'s' if behind > 1 else ''} that this has not",
            hint=f"git pull {remote} {branch}",
        )


def _refuse_go(path: Path, version: Version) -> None:
    """A module of Go of version 2 or more ends in it."""
    file = path / "go.mod"
    if version.major < 2 or not file.is_file():
        return
    line = file.read_text(encoding="utf-8").partition("\n")[0]
    if not line.rstrip().endswith(f"/v{version.major}"):
        raise DctlError(
            f"{file}:1: a module of version {version} has to end in /v{version.major}: {line}",
            hint="change it there and where it is imported, and commit that first",
        )


def _asked(last: Version) -> Part:
    if not sys.stdin.isatty():
        raise UsageError(
            "which version comes next is not said, and there is no terminal to ask at",
            hint="--major, --minor or --patch",
        )
    from dctl.release.versions import PARTS

    choices = ", ".join(f"{part} ({last.next(part)})" for part in PARTS)
    click.echo(f"last: {last}; next: {choices}", err=True)
    answer = click.prompt("Which", type=click.Choice(PARTS), default="patch", err=True)
    return next(part for part in PARTS if part == answer)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("this pushes a tag, and there is no terminal to ask at", hint="say -y")
    click.confirm(question, abort=True, err=True)
