"""dctl kv export, import: entries as lines of JSON, to move them or keep them in a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dctl.commands.kv.group import any_type_option, group, store
from dctl.commands.options import output_option, spec_option, timeout_option
from dctl.errors import DctlError, UsageError

if TYPE_CHECKING:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb
    from google.protobuf.any_pb2 import Any as AnyMessage

    from dctl.render.output import Format

# Each cluster writes its own.
_OWN = ("leader", "fuse_address")
_BATCH, _BATCH_BYTES = 500, 2 << 20
_TOLD = 10  # problems that are told one by one
_ABORTED = 10  # gRPC's code of a condition that does not hold


class _Line(NamedTuple):
    key: str
    value: AnyMessage


@group.command(name="export")
@click.argument("prefix", default="")
@any_type_option
@spec_option
@timeout_option("30s")
def export(prefix: str, type_: str, file: Path | None, timeout: float) -> None:
    """Print the keys that begin with PREFIX as lines of JSON, for `dctl kv import`.

    They are those of one moment. A TTL is not told: what is imported stays. The addresses that a
    cluster keeps of itself (leader, fuse_address) are left out.

    \b
      dctl kv export > keys.ndjson
      dctl kv export shop/ --type any > shop.ndjson
    """
    from dctl.messages import portable, type_name

    with store(file, timeout) as (blueprint, stub), blueprint.translated():
        for event in _current(stub, prefix, type_, timeout):
            name = type_name(event.value)
            line = {"key": event.key, "type": name, "value": portable(event.value)}
            click.echo(json.dumps(line, ensure_ascii=False))


@group.command(name="import")
@click.argument("source", metavar="FILE", type=click.File(encoding="utf-8"))
@click.option("--keep", is_flag=True, help="Leave keys that are there already as they are.")
@spec_option
@output_option()
@timeout_option("30s")
def import_(source: Any, keep: bool, file: Path | None, format: Format, timeout: float) -> None:
    """Write the keys of FILE (- is stdin), as `dctl kv export` prints them.

    Nothing is written if a line cannot be read.

    \b
      dctl kv import keys.ndjson
      dctl kv import keys.ndjson --keep          only those that are not there
    """
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.render.output import emit

    lines = _read(source.name, source)
    written = kept = 0
    failed: list[str] = []
    with store(file, timeout) as (blueprint, stub), _progress(len(lines)) as bar:
        for part in _parts(lines):
            operations = [pb.BatchOperation(set=_set(line, keep=keep)) for line in part]
            answer = blueprint.call(stub.Batch, pb.BatchRequest(operations=operations))
            for line, result in zip(part, answer.results, strict=True):
                if result.WhichOneof("result") == "set":
                    written += 1
                elif keep and result.error.code == _ABORTED:
                    kept += 1
                else:
                    failed.append(f"{line.key}: {result.error.message}")
            bar.update(len(part))
    if format == "table":
        click.echo(f"{written} written" + (f", {kept} were there" if kept else ""), err=True)
    else:
        emit("KeyImport", {"written": written, "kept": kept, "failed": len(failed)}, format=format)
    if failed:
        raise DctlError(f"{len(failed)} of {len(lines)} keys were not written", hint=_few(failed))


def _current(stub: Any, prefix: str, type_: str, timeout: float) -> Iterator[pb.WatchEvent]:
    """The entries of one moment: what a watch begins with."""
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    from dctl.messages import VALUE, empty, type_name

    request = pb.WatchRequest(value=None if type_ == "any" else empty(type_), prefix=prefix)
    call = stub.Watch(request, timeout=timeout)
    try:
        for response in call:
            for event in response.events:
                if event.kind == event.KIND_SYNCED:
                    return
                if event.key not in _OWN or type_name(event.value) != VALUE:
                    yield event
    finally:
        call.cancel()
    raise DctlError("Blueprint ended the stream before all keys had come: the export is not whole")


def _read(name: str, lines: Iterator[str]) -> list[_Line]:
    """Every line of a file; raises UsageError that tells what is wrong where."""
    read: list[_Line] = []
    wrong: list[str] = []
    try:
        texts = list(lines)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"nothing was written; {name} is not UTF-8 text: {error.reason}"
        ) from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            read.append(_line(json.loads(text)))
        except json.JSONDecodeError as error:
            wrong.append(f"{name}:{number}:{error.colno}: {error.msg}")
        except UsageError as error:
            wrong.append(f"{name}:{number}: {error.message}")
    if wrong:
        raise UsageError(f"nothing was written; {_few(wrong)}")
    return read


def _line(told: Any) -> _Line:
    from dctl.messages import packed

    if not isinstance(told, dict) or not {"key", "value"} <= told.keys():
        raise UsageError('a line is like {"key": "greeting", "type": "value", "value": "hello"}')
    if not isinstance(told["key"], str) or not told["key"].strip():
        raise UsageError("the key has to be a text that is not empty")
    return _Line(told["key"], packed(str(told.get("type", "value")), told["value"]))


def _set(line: _Line, *, keep: bool) -> pb.SetRequest:
    from draft_api.core.registry.key_value.v1 import service_pb2 as pb

    request = pb.SetRequest(key=line.key, value=line.value)
    if keep:
        request.expected_revision = 0
    return request


def _parts(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """As many at once as a message holds."""
    part: list[_Line] = []
    size = 0
    for line in lines:
        weight = len(line.value.value)
        if part and (len(part) == _BATCH or size + weight > _BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += weight
    if part:
        yield part


def _progress(length: int) -> Any:
    import sys

    return click.progressbar(
        length=length, label="importing", file=sys.stderr, hidden=not sys.stderr.isatty()
    )


def _few(problems: Sequence[str]) -> str:
    more = len(problems) - _TOLD
    return "\n".join([*problems[:_TOLD], *([f"and {more} more"] if more > 0 else [])])
