"""What a producer and a consumer may rely on, over real gRPC and a real engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from draft_api.core.message_broker.actors.v1 import consumer_pb2, consumer_pb2_grpc, models_pb2
from draft_services.catalyst.errors import CatalystError
from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.catalyst import (
    ALL,
    CloudEvent,
    StartPosition,
    consuming,
    event,
    events,
    produce,
    running_catalyst,
)
from tests.support.nats import Nats, running_nats

Value = CloudEvent.CloudEventAttributeValue
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def channel(nats: Nats) -> AsyncIterator[grpc.aio.Channel]:
    async with running_catalyst(nats.url) as channel:
        yield channel


async def test_events_are_acknowledged_in_order_with_growing_sequences(
    channel: grpc.aio.Channel,
) -> None:
    answers = await produce(channel, events(300))
    assert [answer.id for answer in answers] == [f"e{n}" for n in range(300)]
    assert [answer.sequence for answer in answers] == [*range(1, 301)]


async def test_a_batch_has_one_answer_with_all_ids(channel: grpc.aio.Channel) -> None:
    answers = await produce(channel, [event("a"), events(3), event("b")])
    assert [(answer.id, list(answer.ids), answer.sequence) for answer in answers] == [
        ("a", [], 1),
        ("", ["e0", "e1", "e2"], 4),
        ("b", [], 5),
    ]


async def test_a_duplicate_is_acknowledged_like_the_first_and_stored_once(
    channel: grpc.aio.Channel,
) -> None:
    first = await produce(channel, [event("a"), event("b"), event("a", source="/other")])
    again = await produce(channel, [event("b"), event("c"), event("c"), event("a")])
    assert [answer.sequence for answer in first] == [1, 2, 3]
    assert [(answer.id, answer.sequence) for answer in again] == [
        ("b", 2),
        ("c", 4),
        ("c", 4),
        ("a", 1),
    ]
    async with consuming(channel, start=ALL) as consumer:
        await produce(channel, [event("last")])
        assert await consumer.until(5) == ["a", "b", "a", "c", "last"]


@pytest.mark.parametrize("attribute", ["id", "source", "type", "spec_version"])
async def test_a_missing_attribute_is_refused_by_name_and_the_stream_goes_on(
    channel: grpc.aio.Channel, attribute: str
) -> None:
    broken = event("broken")
    broken.ClearField(attribute)  # type: ignore[arg-type]
    before, refused, after = await produce(channel, [event("a"), broken, event("b")])
    assert (before.id, after.id) == ("a", "b")
    assert refused.error.code == INVALID_ARGUMENT
    assert refused.error.message.startswith(f"{attribute}: missing")
    assert refused.error.id == broken.id
    assert refused.id == ""


async def test_both_spec_versions_are_taken_and_no_other(channel: grpc.aio.Channel) -> None:
    original, unknown = event("a"), event("b")
    original.spec_version, unknown.spec_version = "v1", "2.0"
    stored, refused = await produce(channel, [original, unknown])
    assert stored.sequence == 1
    assert refused.error.code == INVALID_ARGUMENT
    assert "spec_version" in refused.error.message
    async with consuming(channel, start=ALL) as consumer:
        await consumer.until(1)
        assert consumer.events == [original]


async def test_in_a_batch_only_the_broken_event_is_refused(channel: grpc.aio.Channel) -> None:
    broken = event("broken", type="")
    stored, refused = await produce(channel, [[event("a"), broken, event("b")]])
    assert list(stored.ids) == ["a", "b"]
    assert refused.error.id == "broken"


async def test_a_request_without_an_event_is_refused(channel: grpc.aio.Channel) -> None:
    (refused,) = await produce(channel, [[]])
    assert refused.error.code == INVALID_ARGUMENT


async def test_an_event_over_one_mebibyte_is_refused_with_the_limit(
    channel: grpc.aio.Channel,
) -> None:
    largest = event("largest", text="x")
    largest.text_data = "x" * (1024 * 1024 - (largest.ByteSize() - 1) - 3)
    assert 1024 * 1024 - 3 < largest.ByteSize() <= 1024 * 1024
    too_large = event("too large", text="x" * 1024 * 1024)
    stored, refused, after = await produce(channel, [largest, too_large, event("a")])
    assert (stored.id, after.id) == ("largest", "a")
    assert refused.error.code == RESOURCE_EXHAUSTED
    assert "1048576" in refused.error.message
    async with consuming(channel, start=ALL) as consumer:
        await consumer.until(2)
        assert consumer.events[0] == largest


async def test_names_that_make_no_subject_are_refused_by_name(channel: grpc.aio.Channel) -> None:
    long, after = await produce(channel, [event("a", type="t" * 5000), event("b")])
    assert long.error.code == INVALID_ARGUMENT
    assert "type" in long.error.message
    assert after.id == "b"


async def test_an_event_arrives_as_it_was_sent(channel: grpc.aio.Channel) -> None:
    moment = Timestamp(seconds=1_700_000_000, nanos=123_456_789)
    packed = Any()
    packed.Pack(models_pb2.CloudEventBatch(events=[event("inner")]))
    attributes = {
        "time": Value(ce_timestamp=moment),
        "subject": Value(ce_string="cart/7"),
        "flag": Value(ce_boolean=False),
        "count": Value(ce_integer=-1),
        "raw": Value(ce_bytes=b"\x00\xff"),
        "dataschema": Value(ce_uri="http://schema.example/1"),
        "ref": Value(ce_uri_ref="/a"),
    }
    sent = [
        CloudEvent(id="1", source="/s", type="t", spec_version="1.0", attributes=attributes),
        CloudEvent(id="2", source="/s", type="t", spec_version="1.0", binary_data=b"\x00\x01\xff"),
        CloudEvent(id="3", source="/s", type="t", spec_version="1.0", proto_data=packed),
        CloudEvent(id="4", source="/s", type="t", spec_version="1.0", text_data=""),
    ]
    await produce(channel, sent)
    async with consuming(channel, start=ALL) as consumer:
        await consumer.until(4)
        assert consumer.events == sent


async def test_every_consumer_gets_every_event_in_order(channel: grpc.aio.Channel) -> None:
    async with (
        consuming(channel) as one,
        consuming(channel, max_batch=10) as two,
        consuming(channel, type="shop.*") as three,
    ):
        await asyncio.gather(
            *(produce(channel, events(100, prefix=f"{producer}-")) for producer in "abc")
        )
        seen = await one.until(300)
        assert await two.until(300) == seen
        assert await three.until(300) == seen
        for producer in "abc":
            assert [id for id in seen if id.startswith(producer)] == [
                f"{producer}-{n}" for n in range(100)
            ]


async def test_new_begins_with_what_is_stored_after_the_call_was_accepted(
    channel: grpc.aio.Channel,
) -> None:
    await produce(channel, [event("before")])
    async with consuming(channel) as consumer:
        await produce(channel, [event("after")])
        assert await consumer.until(1) == ["after"]


async def test_an_accepted_consumer_is_told_where_it_stands(channel: grpc.aio.Channel) -> None:
    """So that one whose connection breaks before its first event can begin again from there."""
    await produce(channel, events(3))
    for start, position in [(None, "4"), (ALL, "1"), (StartPosition(sequence=2), "2")]:
        async with consuming(channel, start=start) as consumer:
            metadata = await consumer.call.initial_metadata()
            assert dict(metadata or ())["draft-next-sequence"] == position


async def test_replay_begins_where_it_is_told_to(channel: grpc.aio.Channel) -> None:
    await produce(channel, events(600, prefix="old"))
    moment = Timestamp()
    moment.GetCurrentTime()
    await produce(channel, events(10, prefix="new"))
    every = [f"old{n}" for n in range(600)] + [f"new{n}" for n in range(10)]
    for start, expected in [
        (ALL, every),
        (StartPosition(sequence=1), every),
        (StartPosition(sequence=599), every[598:]),
        (StartPosition(time=moment), every[600:]),
        (StartPosition(time=Timestamp(seconds=1)), every),
    ]:
        async with consuming(channel, start=start) as consumer:
            assert await consumer.until(len(expected)) == expected


async def test_after_a_replay_come_the_new_ones(channel: grpc.aio.Channel) -> None:
    await produce(channel, events(300, prefix="old"))
    async with consuming(channel, start=ALL, max_batch=7) as consumer:
        await produce(channel, events(300, prefix="new"))
        assert await consumer.until(600) == [
            f"{age}{n}" for age in ("old", "new") for n in range(300)
        ]


async def test_a_sequence_that_is_not_in_the_log_is_out_of_range(
    channel: grpc.aio.Channel,
) -> None:
    await produce(channel, events(3))
    async with consuming(channel, start=StartPosition(sequence=4)) as consumer:
        await produce(channel, [event("next")])
        assert await consumer.until(1) == ["next"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with consuming(channel, start=StartPosition(sequence=9)) as consumer:
            await consumer.until(1)
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert "keeps 1 to 4" in (caught.value.details() or "")


@pytest.mark.parametrize(
    "start",
    [StartPosition(sequence=0), StartPosition(time=Timestamp(seconds=-5))],
    ids=["sequence 0", "before 1970"],
)
async def test_a_start_that_makes_no_sense_names_its_field(
    channel: grpc.aio.Channel, start: StartPosition
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with consuming(channel, start=start) as consumer:
            await consumer.until(1)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("start.")


async def test_a_batch_tells_its_first_and_its_last_sequence(channel: grpc.aio.Channel) -> None:
    await produce(channel, events(100))
    async with consuming(channel, start=ALL, max_batch=30) as consumer:
        await consumer.until(100)
    last = 0
    for response in consumer.received:
        assert response.first_sequence == last + 1
        last = response.sequence
        assert last - response.first_sequence + 1 == len(response.batch.events) <= 30
        assert not response.HasField("message")
    assert last == 100
    assert len(consumer.received) < 20


@pytest.mark.parametrize("max_batch", [0, 1])
async def test_without_a_batch_each_event_comes_alone_with_its_sequence(
    channel: grpc.aio.Channel, max_batch: int
) -> None:
    await produce(channel, events(5))
    async with consuming(channel, start=ALL, max_batch=max_batch) as consumer:
        await consumer.until(5)
    assert [response.sequence for response in consumer.received] == [1, 2, 3, 4, 5]
    assert not any(response.HasField("batch") for response in consumer.received)


async def test_batches_of_large_events_stay_below_what_a_client_takes(
    channel: grpc.aio.Channel,
) -> None:
    await produce(channel, events(12, text="x" * 900_000))
    async with consuming(channel, start=ALL, max_batch=100) as consumer:
        assert await consumer.until(12) == [f"e{n}" for n in range(12)]


@pytest.mark.parametrize(
    ("type", "source", "expected"),
    [
        ("", "", ["1", "2", "3", "4", "5"]),
        ("*", "*", ["1", "2", "3", "4", "5"]),
        ("shop.order.*", "", ["1", "2"]),
        ("shop.order.placed", "", ["1"]),
        ("shop.*", "/eu/*", ["1", "3"]),
        ("", "/eu/1", ["1"]),
        ("größe.*", "", ["4"]),
        ("", "urn:雪 だるま/*", ["4"]),
        ("a.*.>", "", ["5"]),
    ],
)
async def test_a_template_selects_by_type_and_source(
    channel: grpc.aio.Channel, type: str, source: str, expected: list[str]
) -> None:
    await produce(
        channel,
        [
            event("1", type="shop.order.placed", source="/eu/1"),
            event("2", type="shop.order.paid", source="/us/1"),
            event("3", type="shop.cart", source="/eu/2"),
            event("4", type="größe.geändert", source="urn:雪 だるま/a b"),
            event("5", type="a.*.>", source=" .\n\x00*>"),
        ],
    )
    async with consuming(channel, type=type, source=source, start=ALL) as consumer:
        await produce(channel, [event("last", type=type.rstrip("*") or "t", source=source or "/")])
        assert await consumer.until(len(expected) + 1) == [*expected, "last"]


async def test_a_full_log_refuses_new_events_and_keeps_the_old_ones(nats: Nats) -> None:
    async with running_catalyst(nats.url, max_bytes=200_000) as channel:
        answers = await produce(channel, events(40, text="x" * 10_000))
        stored = [answer.id for answer in answers if answer.id]
        refused = [answer.error for answer in answers if not answer.id]
        assert len(answers) == 40
        assert 10 < len(stored) < 20
        assert {error.code for error in refused} == {RESOURCE_EXHAUSTED}
        assert all("full" in error.message for error in refused)
        async with consuming(channel, start=ALL) as consumer:
            assert await consumer.until(len(stored)) == stored


async def test_what_has_expired_is_not_skipped_in_silence(nats: Nats) -> None:
    """By sequence that is an error; `all` is what is kept."""
    async with running_catalyst(nats.url, max_age=1.0) as channel:
        await produce(channel, events(5))
        async with asyncio.timeout(20):
            while True:
                if await first_kept(channel) > 1:
                    break
                await asyncio.sleep(0.05)
        await produce(channel, [event("young")])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with consuming(channel, start=StartPosition(sequence=1)) as consumer:
                await consumer.until(1)
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        async with consuming(channel, start=ALL) as consumer:
            assert await consumer.until(1) == ["young"]


async def test_what_is_damaged_is_not_skipped_in_silence(nats: Nats) -> None:
    async with running_catalyst(nats.url) as channel:
        await produce(channel, events(300, text="x" * 300))
    nats.stop()
    file = max(nats.folder.rglob("ce/msgs/*.blk"), key=lambda each: each.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)
    nats.start()
    async with running_catalyst(nats.url) as channel:
        consumer = consumer_pb2_grpc.ConsumerStub(channel)
        seen: list[int] = []

        async def read() -> None:
            async for each in consumer.Consume(consumer_pb2.ConsumeRequest(start=ALL)):
                seen.append(each.sequence)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read()
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        assert seen == [*range(1, len(seen) + 1)]
        begin = len(seen) + 2
        assert f"or go on from {begin}" in str(caught.value.details())
        async with consuming(channel, start=StartPosition(sequence=begin)) as rest:
            assert await rest.until(301 - begin) == [f"e{n - 1}" for n in range(begin, 301)]


async def first_kept(channel: grpc.aio.Channel) -> int:
    """The sequence with which `all` begins."""
    async with consuming(channel, start=ALL) as consumer:
        metadata = await consumer.call.initial_metadata()
        return int(dict(metadata or ())["draft-next-sequence"])


async def test_a_limit_beyond_the_engines_own_is_refused_with_both_names(nats: Nats) -> None:
    with pytest.raises(CatalystError, match=r"catalyst\.max_store: .*core\.nats\.max_store"):
        async with running_catalyst(nats.url, max_bytes=1 << 40):
            pass


async def test_a_log_that_takes_most_of_the_engine_opens_again(nats: Nats) -> None:
    """The engine counts a stream's room twice when it is asked to create what is there."""
    for _ in range(2):
        async with running_catalyst(nats.url, max_bytes=700_000_000):
            pass


async def test_what_is_not_served_yet_says_so(channel: grpc.aio.Channel) -> None:
    consumer = consumer_pb2_grpc.ConsumerStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await consumer.Consume(consumer_pb2.ConsumeRequest(group="g")).read()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "group" in (caught.value.details() or "")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await consumer.Subscribe(iter([consumer_pb2.SubscribeRequest()])).read()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "Consume" in (caught.value.details() or "")
