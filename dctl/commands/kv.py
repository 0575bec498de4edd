"""dctl kv: keys and values in Blueprint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctl.commands.core import core
from dctl.commands.options import Position, Seconds, output_option, spec_option, timeout_option
from dctl.errors import NotFoundError, UsageError, WaitTimeoutError

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc
    from google.protobuf.any_pb2 import Any as AnyMessage

    from dctl.clients import Connection
    from dctl.cursors import Change, KeyCursor
    from dctl.render.output import Format

F = TypeVar("F", bound=Callable[..., Any])

_CONNECT = 5.0  # seconds to reach Blueprint, where --timeout says how long to watch
_PAGE = 200  # entries asked for at once: 200 MiB at the very worst, a few KiB as a rule
_CELL = 100  # characters of a value in a table
_STREAM = (("revision", 8), ("change", 6), ("key", 24), ("value", 0))

_type_option = click.option(
    "--type",
    "type_",
    default="value",
    show_default=True,
    metavar="TYPE",
    help="`value` for plain text, or a message's full name: values are its JSON then.",
)


@click.group()
def group() -> None:
    """Keys and values in Blueprint.

    \b
      dctl kv set greeting hello
      dctl kv get greeting
      dctl kv list gr
      dctl kv watch -o ndjson
    """


@group.command(name="set")
@click.argument("key")
@click.argument("value")
@_type_option
@click.option(
    "--if-revision",
    type=Position(),
    help="Only if the key is at this revision; 0: only if it is absent.",
)
@click.option("--ttl", type=Seconds(), help="Remove the key when it was not written for so long.")
@spec_option
@output_option()
@timeout_option("5s")
def set_(
    key: str,
    value: str,
    type_: str,
    if_revision: int | None,
    ttl: float | None,
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """Write KEY. A VALUE of - is read from stdin, as it is.

    \b
      dctl kv set greeting hello
      dctl kv set greeting hullo --if-revision 7       only if nobody wrote since
      dctl kv set lease me --ttl 30s
      dctl kv set ann '{"firstName": "Ann"}' --type examples.crud.v1.Name
      dctl kv set motd - < motd.txt
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import parse

    request = pb.SetRequest(key=key, value=parse(type_, _text(value)))
    if if_revision is not None:
        request.expected_revision = if_revision
    if ttl is not None:
        request.ttl.FromNanoseconds(round(ttl * 1e9))
    with _store(file, timeout) as (blueprint, stub):
        answer = blueprint.call(stub.Set, request)
    _done(f"set {answer.key}", answer.key, answer.revision, format)


@group.command()
@click.argument("key")
@_type_option
@spec_option
@output_option()
@timeout_option("5s")
def get(key: str, type_: str, file: Path | None, format: Format, timeout: float) -> None:
    """Print the value of KEY; exit 1 when there is none.

    \b
      dctl kv get greeting
      dctl kv get ann --type examples.crud.v1.Name -o json
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty, plain
    from dctl.render.output import emit

    with _store(file, timeout) as (blueprint, stub):
        try:
            answer = blueprint.call(stub.Get, pb.GetRequest(key=key, value=empty(type_)))
        except NotFoundError:
            raise NotFoundError(f'no key "{key}" of type {type_}') from None
    if format == "table":
        click.echo(_whole(plain(answer.value)))
    else:
        emit("KeyValue", _item(key, answer.value, answer.revision), format=format)


@group.command()
@click.argument("key")
@_type_option
@click.option("--if-revision", type=Position(), help="Only if the key is at this revision.")
@spec_option
@output_option()
@timeout_option("5s")
def delete(
    key: str,
    type_: str,
    if_revision: int | None,
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """Remove KEY. Removing what is absent succeeds.

    \b
      dctl kv delete greeting
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty

    request = pb.DeleteRequest(key=key, value=empty(type_))
    if if_revision is not None:
        request.expected_revision = if_revision
    with _store(file, timeout) as (blueprint, stub):
        answer = blueprint.call(stub.Delete, request)
    text = f"deleted {answer.key}" if answer.revision else f"{answer.key} was not there"
    _done(text, answer.key, answer.revision, format)


@group.command(name="list")
@click.argument("prefix", default="")
@_type_option
@spec_option
@output_option()
@timeout_option("5s")
def list_(prefix: str, type_: str, file: Path | None, format: Format, timeout: float) -> None:
    """The keys of one type that begin with PREFIX, in order.

    \b
      dctl kv list
      dctl kv list shop/ -o ndjson
      dctl kv list --type core.control_plane.networking.v1.Route
    """
    from dctl.messages import full_name, plain
    from dctl.render.output import emit_list

    with _store(file, timeout) as (blueprint, stub):
        entries = _entries(blueprint, stub, prefix, type_)
    items: list[dict[str, Any]] = [
        {"key": key, "type": full_name(type_), "value": plain(value)} for key, value in entries
    ]
    if format == "table":
        items = [{**item, "value": _cell(item["value"])} for item in items]
    emit_list(
        "KeyValueList",
        items,
        columns={"key": "key", "value": "value"},
        format=format,
        empty=f"no keys of type {type_}" + (f' that begin with "{prefix}"' if prefix else ""),
    )


@group.command()
@click.argument("prefix", default="")
@click.option(
    "--type",
    "type_",
    default="value",
    show_default=True,
    metavar="TYPE",
    help="`value`, a message's full name, or `any`.",
)
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
    with _store(file, _CONNECT) as (blueprint, stub):
        print_header(_STREAM, format=format)
        for change in _changes(blueprint, stub, cursor, prefix, type_, timeout):
            _print(change, format)
            seen += change.kind != "synced"
            if seen == count:
                return
    if count is not None:
        raise WaitTimeoutError(f"{seen} of {count} changes came within {timeout:g}s")


@contextmanager
def _store(
    file: Path | None, timeout: float
) -> Iterator[tuple[Connection, rpc.KeyValueServiceStub]]:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    with core("blueprint", file, timeout) as blueprint:
        yield blueprint, blueprint.stub(rpc.KeyValueServiceStub)


def _entries(
    blueprint: Connection, stub: rpc.KeyValueServiceStub, prefix: str, type_: str
) -> list[tuple[str, AnyMessage]]:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import empty

    request = pb.ListRequest(value=empty(type_), prefix=prefix, page_size=_PAGE)
    entries: dict[str, AnyMessage] = {}
    while True:
        page = blueprint.call(stub.List, request)
        entries.update(page.values)
        if not page.next_page_token:
            return sorted(entries.items())
        request.page_token = page.next_page_token


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
            pb.WatchRequest(value=value, prefix=prefix, from_revision=cursor.revision),
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
        item: Mapping[str, Any] = {"change": "synced", "revision": change.revision}
        if format == "table":
            click.echo("these are all; now every change (Ctrl-C ends)", err=True)
            return
    else:
        item = {"change": change.kind, **_item(change.key, change.value, change.revision)}
        if change.kind == "delete":
            del item["value"]
    shown = _cell(item["value"]) if "value" in item else ""
    cells = (str(change.revision), change.kind, change.key, shown)
    print_item("KeyValueChange", item, cells, columns=_STREAM, format=format)


def _item(key: str, value: AnyMessage, revision: int) -> dict[str, Any]:
    from dctl.messages import plain, type_name

    return {"key": key, "type": type_name(value), "revision": revision, "value": plain(value)}


def _done(text: str, key: str, revision: int, format: Format) -> None:
    from dctl.render.output import emit
    from dctl.text import printable

    if format == "table":
        click.echo(printable(text) + (f" (revision {revision})" if revision else ""), err=True)
    else:
        emit("KeyRevision", {"key": key, "revision": revision}, format=format)


def _text(value: str) -> str:
    if value != "-":
        return value
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin is not UTF-8 text: {error}") from error


def _whole(value: Any) -> str:
    """The value for people. On a terminal nothing in it may steer the terminal; a file or a pipe
    gets it as it is."""
    from dctl.text import printable

    if isinstance(value, str):
        return printable(value, keep="\n\t") if sys.stdout.isatty() else value
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _cell(value: Any) -> str:
    import json

    from dctl.text import shorten

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, _CELL)
