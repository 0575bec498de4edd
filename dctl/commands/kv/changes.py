"""dctl kv watch, history."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands import completing
from dctl.commands.kv.group import any_type_option, cell, group, item, store, type_option
from dctl.commands.options import Position, Seconds, output_option, spec_option, timeout_option
from dctl.errors import NotFoundError, WaitTimeoutError

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    from dctl.clients import Connection
    from dctl.cursors import Change, KeyCursor
    from dctl.render.output import Format

_CONNECT = 5.0  # seconds to reach Blueprint, where --timeout says how long to watch
_STREAM = (("revision", 8), ("change", 6), ("key", 24), ("value", 0))
_PAST = {name: name for name in ("revision", "change", "age", "value")}


@group.command()
@click.argument("prefix", default="")
@any_type_option
@click.option(
    "--from-revision",
    type=Position(),
    default=0,
    help="Only changes after this revision [default: the current entries first].",
)
@spec_option
@output_option()
@click.option("--count", type=click.IntRange(1), help="End after so many.")
@click.option(
    "--timeout",
    type=Seconds(),
    help="End after so long; exit 7 if --count was not reached [default: with Ctrl-C].",
)
def watch(
    prefix: str,
    type_: str,
    from_revision: int,
    count: int | None,
    file: Path | None,
    format: Format,
    timeout: float | None,
) -> None:
    """Print the keys that begin with PREFIX, and then every change.

    When Blueprint goes away, waits until it is back and goes on where it was.

    \b
      dctl kv watch
      dctl kv watch shop/ -o ndjson | jq -c .value
      dctl kv watch --type any --from-revision 120
      dctl kv watch ready/cart --count 1 --timeout 30s     wait for a key
    """
    from dctl.cursors import KeyCursor
    from dctl.render.stream import print_header

    cursor, seen = KeyCursor(from_revision), 0
    with store(file, _CONNECT) as (blueprint, stub):
        print_header(_STREAM, format=format)
        for change in _changes(blueprint, stub, cursor, prefix, type_, timeout):
            _print(change, format)
            seen += change.kind != "synced"
            if seen == count:
                return
    if count is not None:
        raise WaitTimeoutError(f"{seen} of {count} changes came within {timeout:g}s")


@group.command()
@click.argument("key", shell_complete=completing.keys)
@type_option
@click.option("--limit", type=click.IntRange(1), help="The newest so many [default: all kept].")
@spec_option
@output_option()
@timeout_option("5s")
def history(
    key: str, type_: str, limit: int | None, file: Path | None, format: Format, timeout: float
) -> None:
    """What KEY has been, the newest first: up to 64 changes are kept.

    A removal, and a write with --ttl, take what was before them along.

    \b
      dctl kv history greeting
      dctl kv history greeting --limit 2 -o json | jq -r .items[1].value
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty
    from dctl.render.output import emit_list

    request = pb.HistoryRequest(key=key, value=empty(type_), limit=limit or 0)
    with store(file, timeout) as (blueprint, stub):
        answer = blueprint.call(stub.History, request)
    if not answer.versions:
        raise NotFoundError(f'no key "{key}" of type {type_}, now or before')
    items = [_past(key, version) for version in answer.versions]
    if format == "table":
        items = [
            {**one, "age": _age(version), "value": cell(one.get("value", ""))}
            for one, version in zip(items, answer.versions, strict=True)
        ]
    emit_list("KeyVersionList", items, columns=_PAST, format=format)
    if format == "table" and not answer.complete:
        click.echo("older ones are kept as well: --limit", err=True)


def _changes(
    blueprint: Connection,
    stub: rpc.KeyValueServiceStub,
    cursor: KeyCursor,
    prefix: str,
    type_: str,
    seconds: float | None,
) -> Iterator[Change]:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty

    value = None if type_ == "any" else empty(type_)
    for response in blueprint.follow(
        lambda left: stub.Watch(
            pb.WatchRequest(
                value=value,
                prefix=prefix,
                from_revision=cursor.revision,
                generation=cursor.generation,
            ),
            timeout=left,
        ),
        seconds=seconds,
        on_open=cursor.opened,
        too_old=cursor.too_old,
        say=lambda text: click.echo(text, err=True),
    ):
        yield from cursor.read(response)


def _print(change: Change, format: Format) -> None:
    from dctl.render.stream import print_item

    if change.kind == "synced":
        told: Mapping[str, Any] = {"change": "synced", "revision": change.revision}
        if format == "table":
            click.echo("these are all; now every change (Ctrl-C ends)", err=True)
            return
    else:
        told = {"change": change.kind, **item(change.key, change.value, change.revision)}
        if change.kind == "delete":
            del told["value"]
    shown = cell(told["value"]) if "value" in told else ""
    cells = (str(change.revision), change.kind, change.key, shown)
    print_item("KeyValueChange", told, cells, columns=_STREAM, format=format)


def _past(key: str, version: pb.Version) -> dict[str, Any]:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    told = item(key, version.value, version.revision)
    change = "put"
    if version.kind == pb.WatchEvent.KIND_DELETE:
        change = "delete"
        del told["value"]
    return {**told, "change": change, "time": version.time.ToJsonString()}


def _age(version: pb.Version) -> str:
    from dctl.render.times import span

    return span(max(time.time() - version.time.ToNanoseconds() / 1e9, 0))
