"""dctl broker says to Catalyst what the command line says, and tells its answers."""

import threading

import grpc
import pytest
from draft_api.core.message_broker.actors.v1 import consumer_pb2 as consumer
from draft_api.core.message_broker.actors.v1 import producer_pb2 as producer
from draft_api.core.message_broker.actors.v1.models_pb2 import CloudEvent
from draft_api.core.registry.key_value.v1.models_pb2 import Value

from dctl.cursors import NEXT_SEQUENCE
from dctl.errors import ExitCode
from tests.support.core_stub import CoreStub, refuse
from tests.unit.dctl.commands.conftest import Dctl


def store(core: CoreStub) -> list[CloudEvent]:
    """Let the core acknowledge whatever is produced, and remember it."""
    events: list[CloudEvent] = []

    def answer(requests, context: grpc.ServicerContext):
        for request in requests:
            events.append(request.message)
            yield producer.ProduceResponse(id=request.message.id, sequence=40 + len(events))

    core.answers["Produce"] = answer
    return events


def event(sequence: int, **fields: object) -> consumer.ConsumeResponse:
    message = CloudEvent(id=f"e{sequence}", source="s", type="t", spec_version="1.0", **fields)
    return consumer.ConsumeResponse(message=message, sequence=sequence)


def serve(core: CoreStub, *rounds: tuple[int, ...], next_sequence: int = 0) -> None:
    """Each call of Consume gets the next round of events, then loses its connection; the last one
    is refused, which ends the command."""

    def answer(request: consumer.ConsumeRequest, context: grpc.ServicerContext):
        context.send_initial_metadata(((NEXT_SEQUENCE, str(next_sequence)),))
        call = len(core.requests["Consume"])
        yield from map(event, rounds[call - 1])
        if call == len(rounds):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "enough")
        context.abort(grpc.StatusCode.UNAVAILABLE, "restarting")

    core.answers["Consume"] = answer


def test_produce_prints_id_and_sequence(core: CoreStub, dctl: Dctl) -> None:
    stored = store(core)
    outcome = dctl("broker", "produce", "--type", "demo.greeting", "--data", '{"a":1}')
    (sent,) = stored
    assert outcome.code == ExitCode.OK
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["ID", "SEQUENCE"],
        [sent.id, "41"],
    ]
    assert sent.type == "demo.greeting"
    assert sent.source.startswith("dctl/")
    assert sent.spec_version == "1.0"
    assert sent.text_data == '{"a":1}'
    assert sent.attributes["datacontenttype"].ce_string == "application/json"
    assert sent.attributes["time"].HasField("ce_timestamp")


@pytest.mark.parametrize(
    ("data", "field", "kind"),
    [
        (b"[1]", "text_data", "application/json"),
        (b"hello", "text_data", "text/plain"),
        (b"NaN", "text_data", "text/plain"),  # Python's json would read it; JSON has no NaN
        (b"[" * 100_000, "text_data", "text/plain"),
        (b"\xff\x00", "binary_data", "application/octet-stream"),
    ],
)
def test_data_tells_its_kind(
    core: CoreStub, dctl: Dctl, data: bytes, field: str, kind: str
) -> None:
    stored = store(core)
    assert dctl("broker", "produce", "--type", "t", "--data", "-", stdin=data).code == 0
    assert stored[0].WhichOneof("data") == field
    assert stored[0].attributes["datacontenttype"].ce_string == kind


def test_attributes_win_over_what_is_derived(core: CoreStub, dctl: Dctl) -> None:
    stored = store(core)
    attributes = ("datacontenttype=text/csv", "subject=a=b", "time=2026-01-31T12:00:00Z")
    argv = [word for pair in attributes for word in ("--attr", pair)]
    assert dctl("broker", "produce", "--type", "t", "--data", "1,2", *argv).code == 0
    assert stored[0].attributes["datacontenttype"].ce_string == "text/csv"
    assert stored[0].attributes["subject"].ce_string == "a=b"
    assert stored[0].attributes["time"].ce_timestamp.ToJsonString() == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize("pair", ["subject", "Sub=1", "id=1", "time=noon", "=x"])
def test_a_bad_attribute_is_a_usage_error(core: CoreStub, dctl: Dctl, pair: str) -> None:
    assert dctl("broker", "produce", "--type", "t", "--attr", pair).code == ExitCode.USAGE


def test_a_refused_event_is_told_in_catalysts_words(core: CoreStub, dctl: Dctl) -> None:
    refusal = producer.ProduceError(code=8, message="the limit is 1 MiB", id="x")
    core.answers["Produce"] = lambda *_: iter([producer.ProduceResponse(error=refusal)])
    assert dctl("broker", "produce", "--type", "t") == (1, "", "error: the limit is 1 MiB\n")


def test_an_unacknowledged_event_is_an_error(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Produce"] = lambda *_: iter(())
    assert dctl("broker", "produce", "--type", "t").code == ExitCode.ERROR


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("new", consumer.StartPosition(new=True)),
        ("all", consumer.StartPosition(all=True)),
        ("7", consumer.StartPosition(sequence=7)),
    ],
)
def test_consume_asks_for_what_is_wanted(
    core: CoreStub, dctl: Dctl, text: str, start: consumer.StartPosition
) -> None:
    serve(core, ())
    dctl("broker", "consume", "--type", "a.*", "--source", "s", "--from", text)
    wanted = CloudEvent(type="a.*", source="s")
    assert core.requests["Consume"] == [consumer.ConsumeRequest(message=wanted, start=start)]


def test_consume_starts_at_a_moment(core: CoreStub, dctl: Dctl) -> None:
    serve(core, ())
    dctl("broker", "consume", "--from", "2026-01-31T13:00:00+01:00")
    (request,) = core.requests["Consume"]
    assert request.start.time.ToJsonString() == "2026-01-31T12:00:00Z"
    for nonsense in ("2026-01-31T13:00:00", "yesterday", "-1"):
        assert dctl("broker", "consume", "--from", nonsense).code == ExitCode.USAGE


def test_consume_prints_a_line_for_each_event(core: CoreStub, dctl: Dctl) -> None:
    first = event(7, text_data="two\nlines\x1b[2J")
    first.message.attributes["time"].ce_timestamp.FromJsonString("2026-01-31T12:00:00.123456Z")
    answers = [first, event(9, binary_data=b"\x00\x01")]
    core.answers["Consume"] = lambda *_: iter(answers)
    outcome = dctl("broker", "consume", "--from", "all", "--count", "2")
    assert outcome.code == ExitCode.OK
    assert [line.split(maxsplit=4) for line in outcome.out.splitlines()] == [
        ["TIME", "SEQUENCE", "TYPE", "SOURCE", "DATA"],
        ["2026-01-31T12:00:00.123Z", "7", "t", "s", "two lines�[2J"],
        ["-", "9", "t", "s", "<2 bytes>"],
    ]


def test_ndjson_is_cloudevents_json(core: CoreStub, dctl: Dctl) -> None:
    first = event(7, text_data='{"a": [1]}')
    first.message.spec_version = "v1"  # as the Go original writes it
    first.message.attributes["datacontenttype"].ce_string = "application/json; charset=utf-8"
    first.message.attributes["time"].ce_timestamp.FromJsonString("2026-01-31T12:00:00Z")
    first.message.attributes["retry"].ce_integer = 3
    first.message.attributes["id"].ce_string = "not the id"
    third = event(9)
    third.message.proto_data.Pack(Value(data="x"))
    answers = [first, event(8, binary_data=b"\xff"), third]
    core.answers["Consume"] = lambda *_: iter(answers)
    one, two, three = dctl("broker", "consume", "--count", "3", "-o", "ndjson").ndjson()
    assert one == {
        "specversion": "1.0",
        "id": "e7",
        "source": "s",
        "type": "t",
        "datacontenttype": "application/json; charset=utf-8",
        "time": "2026-01-31T12:00:00Z",
        "retry": 3,
        "draftsequence": "7",
        "data": {"a": [1]},
    }
    assert two["data_base64"] == "/w=="
    assert three["data"] == "x"
    assert three["dataschema"] == "type.googleapis.com/core.registry.key_value.v1.Value"


def test_json_and_yaml_print_a_document_for_each_event(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Consume"] = lambda *_: iter([event(7)])
    document = dctl("broker", "consume", "--count", "1", "-o", "json").json()
    assert (document["apiVersion"], document["kind"]) == ("draft/v1", "Event")
    assert document["draftsequence"] == "7"
    assert dctl("broker", "consume", "--count", "1", "-o", "yaml").out.startswith("---\n")


def test_a_break_loses_no_event_and_prints_none_twice(core: CoreStub, dctl: Dctl) -> None:
    serve(core, (1, 2), (), (2, 3))  # a service may repeat what was on its way
    outcome = dctl("broker", "consume", "--from", "all", "-o", "ndjson")
    assert [item["draftsequence"] for item in outcome.ndjson()] == ["1", "2", "3"]
    starts = [request.start for request in core.requests["Consume"]]
    assert starts == [
        consumer.StartPosition(all=True),
        consumer.StartPosition(sequence=3),
        consumer.StartPosition(sequence=3),
    ]
    assert outcome.err.count("went away") == 2
    assert outcome.err.count("is back") == 2


def test_a_break_before_the_first_event_loses_none(core: CoreStub, dctl: Dctl) -> None:
    serve(core, (), (12,), next_sequence=12)
    outcome = dctl("broker", "consume", "-o", "ndjson")
    assert [item["draftsequence"] for item in outcome.ndjson()] == ["12"]
    assert core.requests["Consume"][1].start.sequence == 12


def test_too_few_events_in_time_is_a_timeout(core: CoreStub, dctl: Dctl) -> None:
    def silence(request: consumer.ConsumeRequest, context: grpc.ServicerContext):
        yield event(1)
        ended = threading.Event()
        context.add_callback(ended.set)
        ended.wait(10)

    core.answers["Consume"] = silence
    outcome = dctl("broker", "consume", "--count", "2", "--timeout", "300ms")
    assert outcome.code == ExitCode.TIMEOUT
    assert "1 of 2 events came within 0.3s" in outcome.err
    assert dctl("broker", "consume", "--timeout", "100ms").code == ExitCode.OK


def test_a_consumer_that_is_refused_at_once_does_not_try_again(core: CoreStub, dctl: Dctl) -> None:
    core.answers["Consume"] = refuse(grpc.StatusCode.UNAVAILABLE, "the engine is away")
    outcome = dctl("broker", "consume")
    assert outcome.code == ExitCode.UNREACHABLE
    assert "the engine is away" in outcome.err
    assert len(core.requests["Consume"]) == 1
