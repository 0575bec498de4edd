"""dctl broker: produce and consume events through Catalyst."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from dctl.commands.core import core
from dctl.commands.options import Position, Seconds, output_option, spec_option, timeout_option
from dctl.errors import DctlError, UsageError, WaitTimeoutError

if TYPE_CHECKING:
    from draft_api.core.message_broker.actors.v1 import producer_pb2 as producer
    from draft_api.core.message_broker.actors.v1.consumer_pb2 import ConsumeResponse

    from dctl.clients import Connection
    from dctl.cursors import EventCursor, Start
    from dctl.render.output import Format

_CONNECT = 5.0  # seconds to reach Catalyst, where --timeout says how long to consume
_CELL = 200  # characters of an event's data in a table
_COLUMNS = (("time", 24), ("sequence", 8), ("type", 20), ("source", 16), ("data", 0))


class _StartType(click.ParamType["Start"]):
    """new, all, a sequence, or a moment."""

    name = "new|all|SEQUENCE|TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Start:
        text = str(value)
        if text == "new":
            return "new"
        if text == "all":
            return "all"
        if text.isascii() and text.isdigit():
            return cast(int, Position().convert(text, param, ctx))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f'"{text}": give new, all, a sequence, or a time such as 2026-01-31T12:00:00Z',
                param,
                ctx,
            )
        if moment.tzinfo is None:
            self.fail(f'"{text}" has no time zone: end it with Z or an offset', param, ctx)
        return moment.astimezone(UTC).replace(tzinfo=None)  # as protobuf wants it


@click.group()
def group() -> None:
    """Produce and consume events.

    \b
      dctl broker produce --type demo.greeting --data '{"a":1}'
      dctl broker consume --type demo.greeting --from all --count 1
    """


@group.command()
@click.option("--type", "type_", required=True, help="What kind of thing happened.")
@click.option("--source", help="Where it happened [default: dctl/USER@HOST].")
@click.option("--id", "id_", help="Unique within the source [default: a new UUID].")
@click.option("--data", help="JSON or text; - reads stdin.")
@click.option(
    "--attr",
    "attributes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further attribute, such as subject=order-7; may be repeated.",
)
@spec_option
@output_option()
@timeout_option("5s")
def produce(
    type_: str,
    source: str | None,
    id_: str | None,
    data: str | None,
    attributes: tuple[str, ...],
    file: Path | None,
    format: Format,
    timeout: float,
) -> None:
    """Store one event, and print its id and sequence once it is on disk.

    \b
      dctl broker produce --type demo.greeting --data '{"a":1}'
      dctl broker produce --type shop.order.placed --source shop --data - < order.json
      dctl broker consume --type 'shop.order.*' --from all
    """
    import uuid

    from draft_api.core.message_broker.actors.v1 import producer_pb2 as pb

    from dctl.cloudevents import attribute, make_event
    from dctl.render.output import emit_list

    try:
        event = make_event(
            id=id_ or str(uuid.uuid4()),
            source=source or _me(),
            type=type_,
            data=_data(data),
            time=datetime.now(UTC).replace(tzinfo=None),
            attributes=dict(map(attribute, attributes)),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    with core("catalyst", file, timeout) as catalyst:
        answer = _produce(catalyst, pb.ProduceRequest(message=event))
    emit_list(
        "ProducedList",
        [{"id": answer.id, "sequence": answer.sequence}],
        columns={"id": "id", "sequence": "sequence"},
        format=format,
    )


@group.command()
@click.option("--type", "type_", default="", help="Only this type; a trailing * matches by prefix.")
@click.option("--source", default="", help="Only this source; a trailing * matches by prefix.")
@click.option(
    "--from",
    "start",
    type=_StartType(),
    default="new",
    show_default=True,
    help="Where in the log to begin.",
)
@click.option("--count", type=click.IntRange(1), help="End after so many events.")
@spec_option
@output_option()
@click.option(
    "--timeout",
    type=Seconds(),
    help="End after so long; exit 7 if --count was not reached [default: with Ctrl-C].",
)
def consume(
    type_: str,
    source: str,
    start: Start,
    count: int | None,
    file: Path | None,
    format: Format,
    timeout: float | None,
) -> None:
    """Print events as they come. ndjson prints each as CloudEvents JSON.

    When Catalyst goes away, waits until it is back and goes on after the last event: none is
    missed or printed twice.

    \b
      dctl broker consume --from all
      dctl broker consume --type 'shop.order.*' --from all -o ndjson | jq -c .data
      dctl broker consume --type demo.greeting --from 2026-01-31T12:00:00Z --count 1
    """
    from dctl.cursors import EventCursor
    from dctl.render.stream import print_header

    cursor, seen = EventCursor(start), 0
    with core("catalyst", file, _CONNECT) as catalyst:
        print_header(_COLUMNS, format=format)
        for response in _events(catalyst, cursor, type_, source, timeout):
            _print(response, format)
            seen += 1
            if seen == count:
                return
    if count is not None:
        raise WaitTimeoutError(
            f"{seen} of {count} events came within {timeout:g}s", hint="--from all shows older ones"
        )


def _produce(catalyst: Connection, request: producer.ProduceRequest) -> producer.ProduceResponse:
    import grpc
    from draft_api.core.message_broker.actors.v1 import producer_pb2_grpc as rpc

    from dctl.clients import translate

    with catalyst.translated():
        stream = catalyst.stub(rpc.ProducerStub).Produce(iter([request]), timeout=catalyst.timeout)
        answer = next(stream, None)
    if answer is None:
        raise DctlError(f"{catalyst.who} ended the stream without an answer", hint="try again")
    if answer.HasField("error"):
        code = {c.value[0]: c for c in grpc.StatusCode}.get(answer.error.code)
        raise translate(
            catalyst.who,
            code or grpc.StatusCode.UNKNOWN,
            answer.error.message,
            timeout=catalyst.timeout,
        )
    return answer


def _events(
    catalyst: Connection, cursor: EventCursor, type_: str, source: str, seconds: float | None
) -> Iterator[ConsumeResponse]:
    from draft_api.core.message_broker.actors.v1 import consumer_pb2 as pb
    from draft_api.core.message_broker.actors.v1 import consumer_pb2_grpc as rpc
    from draft_api.core.message_broker.actors.v1.models_pb2 import CloudEvent

    from dctl.cursors import NEXT_SEQUENCE

    def say(text: str) -> None:
        click.echo(text, err=True)

    first = True

    def begun(metadata: dict[str, str]) -> None:
        nonlocal first
        cursor.opened(metadata)
        if first and NEXT_SEQUENCE in metadata:
            say(f"events from sequence {metadata[NEXT_SEQUENCE]} on (Ctrl-C ends)")
        first = False

    stub = catalyst.stub(rpc.ConsumerStub)
    template = CloudEvent(type=type_, source=source)
    for response in catalyst.follow(
        lambda left: stub.Consume(
            pb.ConsumeRequest(message=template, start=cursor.position()), timeout=left
        ),
        seconds=seconds,
        on_open=begun,
        say=say,
    ):
        if cursor.read(response):
            yield response


def _print(response: ConsumeResponse, format: Format) -> None:
    from dctl.cloudevents import data_line, time_of, to_json
    from dctl.render.stream import print_item
    from dctl.text import shorten

    event, sequence = response.message, response.sequence
    cells = (
        time_of(event),
        str(sequence),
        event.type,
        event.source,
        shorten(data_line(event), _CELL),
    )
    item = to_json(event, sequence) if format != "table" else {}
    print_item("Event", item, cells, columns=_COLUMNS, format=format)


def _data(text: str | None) -> bytes | None:
    if text == "-":
        return sys.stdin.buffer.read()
    return None if text is None else text.encode()


def _me() -> str:
    import getpass
    import socket

    return f"dctl/{getpass.getuser()}@{socket.gethostname()}"
