"""dctl kv set, get, delete, list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dctl.commands import completing
from dctl.commands.kv.group import cell, done, group, item, store, type_option
from dctl.commands.options import Position, Seconds, output_option, spec_option, timeout_option
from dctl.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc
    from google.protobuf.any_pb2 import Any as AnyMessage

    from dctl.clients import Connection
    from dctl.render.output import Format

_PAGE = 200  # entries asked for at once: 200 MiB at the very worst, a few KiB as a rule


@group.command(name="set")
@click.argument("key")
@click.argument("value")
@type_option
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
    with store(file, timeout) as (blueprint, stub):
        answer = blueprint.call(stub.Set, request)
    done(f"set {answer.key}", answer.key, answer.revision, format)


@group.command()
@click.argument("key", shell_complete=completing.keys)
@type_option
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

    with store(file, timeout) as (blueprint, stub):
        try:
            answer = blueprint.call(stub.Get, pb.GetRequest(key=key, value=empty(type_)))
        except NotFoundError:
            raise NotFoundError(f'no key "{key}" of type {type_}') from None
    if format == "table":
        click.echo(_whole(plain(answer.value)))
    else:
        emit("KeyValue", item(key, answer.value, answer.revision), format=format)


@group.command()
@click.argument("key", shell_complete=completing.keys)
@type_option
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
    with store(file, timeout) as (blueprint, stub):
        answer = blueprint.call(stub.Delete, request)
    text = f"deleted {answer.key}" if answer.revision else f"{answer.key} was not there"
    done(text, answer.key, answer.revision, format)


@group.command(name="list")
@click.argument("prefix", default="")
@type_option
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

    with store(file, timeout) as (blueprint, stub):
        entries = _entries(blueprint, stub, prefix, type_)
    items: list[dict[str, Any]] = [
        {"key": key, "type": full_name(type_), "value": plain(value)} for key, value in entries
    ]
    if format == "table":
        items = [{**item, "value": cell(item["value"])} for item in items]
    emit_list(
        "KeyValueList",
        items,
        columns={"key": "key", "value": "value"},
        format=format,
        empty=f"no keys of type {type_}" + (f' that begin with "{prefix}"' if prefix else ""),
    )


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
