"""dctl backup: all that a cluster keeps, as a file, and back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
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
from dctl.errors import DctlError, UnreachableError, WaitTimeoutError

if TYPE_CHECKING:
    from draft_api.core.registry.backup.v1 import service_pb2 as pb
    from draft_api.core.registry.backup.v1 import service_pb2_grpc as rpc

    from dctl.archive import Manifest, Reader, Writer
    from dctl.clients import Connection
    from dctl.engine.cluster import OpenCluster
    from dctl.render.output import Format

_CALL = 10.0  # seconds for what is answered at once
_AGAIN = 0.2
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
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    from dctl.archive import Manifest, writing
    from dctl.engine.cluster import open_cluster

    cluster = open_cluster(file, variant())
    with writing(path, replace=force) as backup, _blueprint(cluster) as (blueprint, stub):
        made = datetime.now(UTC).isoformat(timespec="seconds")
        with blueprint.translated():
            call = stub.Create(pb.CreateRequest(nonce=cluster.nonce()), timeout=timeout)
            try:
                parts = iter(call)
                versions = next(parts).versions
                for part in parts:
                    _take(backup, part.stream, parts)
            finally:
                call.cancel()
        backup.finish(Manifest(cluster.name, made, versions.draft, versions.engine))
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
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    from dctl.archive import reading
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
        with _blueprint(cluster) as (blueprint, stub):
            now = blueprint.call(stub.Describe, pb.DescribeRequest(nonce=cluster.nonce()))
            for line in _replaced(manifest, now.streams):
                click.echo(line, err=True)
            if not yes:
                confirm(f"Replace what {cluster.name} keeps by what it was then?")
            with blueprint.translated():
                stub.Restore(_requests(backup, cluster.nonce()), timeout=timeout)
    _wait(cluster, deadline)
    click.echo(f"{cluster.name} is as of {manifest.created}", err=True)
    click.echo("  its services register anew by themselves: dctl infra status", err=True)


@contextmanager
def _blueprint(cluster: OpenCluster) -> Iterator[tuple[Connection, rpc.BackupServiceStub]]:
    from draft_api.core.registry.backup.v1 import service_pb2_grpc as rpc

    from dctl.clients import connect

    with connect("Blueprint", cluster.address("blueprint"), timeout=_CALL) as blueprint:
        yield blueprint, blueprint.stub(rpc.BackupServiceStub)


def _take(backup: Writer, stream: pb.Stream, parts: Iterator[pb.CreateResponse]) -> None:
    """Write one stream's content; raises DctlError unless all of it came."""
    end: list[pb.End] = []

    def content() -> Iterator[bytes]:
        for part in parts:
            if part.WhichOneof("part") == "end":
                end.append(part.end)
                return
            yield part.chunk

    config, state = json.loads(stream.config), json.loads(stream.state)
    taken = backup.add(stream.name, config, state, content(), live=stream.live)
    if not end or (taken.size, taken.sha256) != (end[0].size, end[0].sha256.hex()):
        raise DctlError(f"the content of {stream.name} did not arrive whole", hint="try again")


def _requests(backup: Reader, nonce: str) -> Iterator[pb.RestoreRequest]:
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    yield pb.RestoreRequest(nonce=nonce)
    for stream, content in backup.contents():
        sent = not stream.live
        if sent:
            config, state = json.dumps(stream.config), json.dumps(stream.state)
            yield pb.RestoreRequest(stream=pb.Stream(name=stream.name, config=config, state=state))
        for chunk in content:
            if sent:
                yield pb.RestoreRequest(chunk=chunk)
        if sent:
            end = pb.End(sha256=bytes.fromhex(stream.sha256), size=stream.size)
            yield pb.RestoreRequest(end=end)


def _wait(cluster: OpenCluster, deadline: float) -> None:
    """Return once Blueprint has begun anew and serves what was restored."""
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    request = pb.DescribeRequest(nonce=cluster.nonce())
    while True:
        try:
            with _blueprint(cluster) as (blueprint, stub):
                blueprint.call(stub.Describe, request)
            return
        except (UnreachableError, WaitTimeoutError) as error:
            if time.monotonic() > deadline:
                raise WaitTimeoutError(
                    f"the backup is restored, but Blueprint is not back: {error.message}",
                    hint="dctl infra status",
                ) from error
        time.sleep(_AGAIN)


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
