"""The group, and what its commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dctl.commands.core import core

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc
    from google.protobuf.any_pb2 import Any as AnyMessage

    from dctl.clients import Connection
    from dctl.render.output import Format

F = TypeVar("F", bound=Callable[..., Any])

_CELL = 100  # characters of a value in a table

type_option = click.option(
    "--type",
    "type_",
    default="value",
    show_default=True,
    metavar="TYPE",
    help="`value` for plain text, or a message's full name: values are its JSON then.",
)

any_type_option = click.option(
    "--type",
    "type_",
    default="value",
    show_default=True,
    metavar="TYPE",
    help="`value`, a message's full name, or `any`.",
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


@contextmanager
def store(
    file: Path | None, timeout: float
) -> Iterator[tuple[Connection, rpc.KeyValueServiceStub]]:
    from draft_api.core.registry.key_value.v1 import service_pb2_grpc as rpc

    with core("blueprint", file, timeout) as blueprint:
        yield blueprint, blueprint.stub(rpc.KeyValueServiceStub)


def item(key: str, value: AnyMessage, revision: int) -> dict[str, Any]:
    from dctl.messages import plain, type_name

    return {"key": key, "type": type_name(value), "revision": revision, "value": plain(value)}


def done(text: str, key: str, revision: int, format: Format) -> None:
    from dctl.render.output import emit
    from dctl.text import printable

    if format == "table":
        click.echo(printable(text) + (f" (revision {revision})" if revision else ""), err=True)
    else:
        emit("KeyRevision", {"key": key, "revision": revision}, format=format)


def cell(value: Any) -> str:
    import json

    from dctl.text import shorten

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shorten(text, _CELL)
