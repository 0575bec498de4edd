"""dctl backup: all that a cluster keeps, as a file, and back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands.options import (
    output_option,
    spec_option,
    timeout_option,
    variant,
    yes_option,
)
from dctl.errors import DctlError

if TYPE_CHECKING:
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    from dctl.archive import Manifest
    from dctl.render.output import Format

_WORDS = {
    "KV_keys": "keys",
    "KV_signing": "signing keys",
    "KV_processes": "processes (not restored)",
    "ce": "events",
}
_HEADERS = ("what", "entries", "last change", "sequences", "size")

_path = click.argument("path", metavar="FILE", type=click.Path(path_type=Path))


@click.group()
def group() -> None:
    """All that a cluster keeps (keys, events, signing keys) as a file, and back.

    \b
      dctl backup create shop.tar.zst
      dctl backup inspect shop.tar.zst
      dctl backup restore shop.tar.zst
    """


@group.command()
@_path
@click.option("--force", is_flag=True, help="Replace FILE when it is there already.")
@spec_option
@output_option()
@timeout_option("1h")
def create(path: Path, force: bool, file: Path | None, format: Format, timeout: float) -> None:
    """Write a backup of the cluster to FILE, while it runs.

    Each stream is kept as it is at one moment. FILE holds the keys that tokens are signed with:
    only you can read it; keep it so.

    \b
      dctl backup create shop.tar.zst
    """
    from dctl.backups import blueprint, take
    from dctl.engine.cluster import open_cluster

    if path.exists() and not force:
        raise DctlError(f"{path} is there already", hint="name another file, or add --force")
    cluster = open_cluster(file, variant())
    with blueprint(cluster.way("blueprint")) as core:
        take(
            core,
            path,
            cluster=cluster.name,
            nonce=cluster.own.nonce(),
            timeout=timeout,
            replace=force,
        )
    _tell(path, format, "BackupCreated")


@group.command()
@_path
@output_option()
def inspect(path: Path, format: Format) -> None:
    """Read all of FILE, check that it is whole, and tell what is in it.

    \b
      dctl backup inspect shop.tar.zst
      dctl backup inspect shop.tar.zst -o json
    """
    _tell(path, format, "Backup")


@group.command()
@_path
@click.option("--other-cluster", is_flag=True, help="FILE may be of a cluster with another name.")
@spec_option
@yes_option
@timeout_option("1h")
def restore(path: Path, other_cluster: bool, file: Path | None, yes: bool, timeout: float) -> None:
    """Put the cluster back to what it kept when FILE was made.

    FILE is checked as a whole before anything is touched. Whatever was written since is gone then;
    the core services begin anew, and every process registers again. If it is cut off, run it
    again.

    \b
      dctl backup restore shop.tar.zst
    """
    from dctl.archive import reading
    from dctl.backups import blueprint, wait
    from dctl.backups import restore as put_back
    from dctl.commands.infra.group import confirm
    from dctl.engine.cluster import open_cluster

    cluster = open_cluster(file, variant())
    deadline = time.monotonic() + timeout
    with reading(path) as backup:
        manifest = backup.check()
        if manifest.cluster != cluster.name and not other_cluster:
            raise DctlError(
                f"{path} is of cluster {manifest.cluster}, and {cluster.source} is {cluster.name}",
                hint="name its spec with -f FILE, or say --other-cluster",
            )
        with blueprint(cluster.way("blueprint")) as core:
            for line in _replaced(manifest, core.describe(cluster.own.nonce()).streams):
                click.echo(line, err=True)
            if not yes:
                confirm(f"Replace what {cluster.name} keeps by what it was then?")
            put_back(core, backup, nonce=cluster.own.nonce(), timeout=timeout)
    wait(lambda: cluster.way("blueprint"), cluster.own.nonce(), deadline)
    click.echo(f"{cluster.name} is as of {manifest.created}", err=True)
    click.echo("  its services register anew by themselves: dctl infra status", err=True)


@group.command("accept-loss")
@spec_option
@yes_option
@output_option()
def accept_loss(file: Path | None, yes: bool, format: Format) -> None:
    """Go on without data that is damaged, and has neither another copy nor a backup.

    When the only copy of something can no longer be read, Blueprint serves nothing of it rather
    than serve what is left as if it were whole. This says that what is left is good enough.

    \b
      dctl cluster status          what is damaged
      dctl backup restore FILE     what to do about it, if there is a backup
      dctl backup accept-loss
    """
    from dctl.backups import blueprint
    from dctl.commands.infra.group import confirm
    from dctl.engine.cluster import open_cluster
    from dctl.render.output import emit

    if not yes:
        confirm("What cannot be read is given up for good. Go on?")
    cluster = open_cluster(file, variant())
    with blueprint(cluster.way("blueprint")) as core:
        accepted = core.accept_loss(cluster.own.nonce())
    if format != "table":
        emit("LossAccepted", {"streams": accepted}, format=format)
    elif accepted:
        click.echo(f"goes on without what is lost of {', '.join(accepted)}", err=True)
    else:
        click.echo("nothing is damaged", err=True)


def _tell(path: Path, format: Format, kind: str) -> None:
    """What is in a backup, after reading all of it."""
    from dctl.archive import reading
    from dctl.render.output import emit, table
    from dctl.render.sizes import about
    from dctl.text import printable

    with reading(path) as backup:
        manifest = backup.check()
    if format != "table":
        body = {"file": str(path), "bytes": path.stat().st_size, **asdict(manifest)}
        emit(kind, {**body, "streams": list(body["streams"])}, format=format)
        return
    table(_HEADERS, [_row(each.name, each.state, each.size) for each in manifest.streams])
    click.echo(printable(f"{path}: {_whence(manifest)}, {about(path.stat().st_size)}"), err=True)


def _row(name: str, state: Mapping[str, Any], length: int) -> list[str]:
    from dctl.render.sizes import about

    return [
        _WORDS.get(name, name),
        str(_entries(name, state)),
        _last(state),
        f"{state['first_seq']}..{state['last_seq']}",
        about(length),
    ]


def _replaced(manifest: Manifest, now: Sequence[pb.Stream]) -> Iterator[str]:
    """What a restore puts in the place of what, in words."""
    there = {stream.name: json.loads(stream.state) for stream in now}
    yield f"the backup is {_whence(manifest)}"
    for stream in manifest.streams:
        if not stream.live:
            then = f"{_entries(stream.name, stream.state)} up to {_last(stream.state)}"
            state = there.get(stream.name)
            today = f"{_entries(stream.name, state)} up to {_last(state)}" if state else "none"
            yield f"  {_WORDS.get(stream.name, stream.name)}: {today} -> {then}"
    kept = sorted(there.keys() - {stream.name for stream in manifest.streams})
    if kept:
        yield f"  not in the backup, and left as they are: {', '.join(kept)}"


def _whence(manifest: Manifest) -> str:
    return (
        f"of cluster {manifest.cluster}, made {manifest.created}"
        f" by Draft {manifest.draft} and NATS {manifest.engine}"
    )


def _entries(name: str, state: Mapping[str, Any]) -> int:
    """How many keys, of whatever age; or how many events."""
    return int(state.get("num_subjects", 0) if name.startswith("KV_") else state["messages"])


def _last(state: Mapping[str, Any]) -> str:
    stamp = str(state["last_ts"])
    return "-" if stamp.startswith("0001-") else stamp.partition(".")[0].removesuffix("Z") + "Z"
