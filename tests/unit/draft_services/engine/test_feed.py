"""A feed notices what is missing, by the consumer's own numbers, and reads on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from draft_services.engine.errors import NotFound, Replaced, Unavailable
from draft_services.engine.feed import Batch, Feed, Start
from draft_services.engine.nodes import Told
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.support.waiting import until


class ToldConnection:
    """Answers JetStream's API as the test wants, and lets it deliver messages."""

    def __init__(self) -> None:
        self.last = 0
        self.pending = 0
        self.generation = "then"
        self.restoring = False
        self.made: list[Mapping[str, Any]] = []
        self.published: list[str] = []
        self.kept: list[int] | None = None  # what the leader has; None: all that it counts
        self.failures = 0
        self.consumer: Mapping[str, Any] | None = None  # what it says of itself; None: it is gone
        self._deliver: Any = None
        self._delete: Any = None
        self._reconnected: list[Callable[[], None]] = []

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        self._reconnected.append(call)
        return lambda: None

    def reconnect(self) -> None:
        for call in self._reconnected:
            call()

    def inbox(self) -> str:
        return f"inbox.{len(self.made)}"

    async def api(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise Unavailable("away")
        if verb == "STREAM.INFO.restoring":
            return {"state": {"messages": int(self.restoring)}}
        if verb.startswith("STREAM.INFO"):
            metadata = {"draft.generation": self.generation}
            return {"state": {"last_seq": self.last}, "config": {"metadata": metadata}}
        if verb.startswith("STREAM.MSG.GET"):
            assert body is not None
            found = [seq for seq in self.kept or () if seq >= body["seq"]]
            if not found:
                raise NotFound("no message found")
            return {"message": {"seq": found[0]}}
        if verb.startswith("CONSUMER.INFO"):
            if self.consumer is None:
                raise NotFound("consumer not found")
            return {**self.consumer}
        assert verb.startswith("CONSUMER.CREATE")
        assert body is not None
        self.made.append(body["config"])
        delivered = {"consumer_seq": 0}
        return {"name": "c", "num_pending": self.pending, "delivered": delivered}

    async def subscribe(self, subject: str, call: Any) -> Any:
        if subject.startswith("$JS.EVENT.ADVISORY.STREAM.DELETED."):
            self._delete = call
        else:
            self._deliver = call

        class Subscription:
            async def unsubscribe(self) -> None:
                pass

        return Subscription()

    async def publish(self, subject: str, payload: bytes = b"", **_: object) -> None:
        self.published.append(subject)

    async def deliver(self, sequence: int, number: int, pending: int = 0) -> None:
        reply = f"$JS.ACK.s.c.1.{sequence}.{number}.1700000000000000000.{pending}"
        await self._deliver(Msg(Client(), "s.x", reply, b"", None))

    async def delete(self) -> None:
        await self._delete(Msg(Client(), "deleted", "", b"", None))

    async def control(self, reply: str = "", **headers: str) -> None:
        told = {"Status": "100"} | {key.replace("_", "-"): text for key, text in headers.items()}
        await self._deliver(Msg(Client(), "inbox", reply, b"", told))


class ToldNodes:
    """Several nodes: what the leader says, and whether another one has come as far."""

    def __init__(self, connection: ToldConnection) -> None:
        self._connection = connection
        self.behind = False
        self.away = 0

    async def information(self, stream: str) -> Told:
        return Told(await self._connection.api(f"STREAM.INFO.{stream}"), applied=1)

    async def has(self, node: str, told: Told) -> bool:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return not self.behind


@pytest.fixture
def nodes(connection: ToldConnection) -> ToldNodes:
    return ToldNodes(connection)


@pytest.fixture
def feed_of_several(connection: ToldConnection, nodes: ToldNodes) -> Feed:
    start = Start.latest()
    return Feed(connection, "s", start=start, nodes=nodes)  # type: ignore[arg-type]


@pytest.fixture
def connection() -> ToldConnection:
    return ToldConnection()


@pytest.fixture
def feed(connection: ToldConnection) -> Feed:
    return Feed(connection, "s", start=Start.latest(), heartbeat=0.05)  # type: ignore[arg-type]


async def take(feed: Feed) -> Batch:
    async with asyncio.timeout(5):
        return await anext(feed)


def sequences(batch: Batch) -> list[int]:
    return [message.sequence for message in batch.messages]


async def test_an_empty_stream_is_caught_up_at_its_end(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last = 7
    batch = await take(feed)
    assert (batch.messages, batch.revision, batch.caught_up, batch.opened) == ([], 7, True, True)
    assert connection.made[0]["deliver_policy"] == "last_per_subject"


async def test_a_gap_in_the_consumers_numbers_opens_anew_behind_the_last_good_message(
    connection: ToldConnection, feed: Feed
) -> None:
    await take(feed)
    await connection.deliver(4, 1)
    await connection.deliver(9, 3)  # the second one is lost
    assert sequences(await take(feed)) == [4]
    connection.last = connection.pending = 9
    waiting = asyncio.create_task(take(feed))
    await until(lambda: len(connection.made) == 2)
    assert connection.made[1]["opt_start_seq"] == 5
    await connection.deliver(8, 1, pending=1)
    batch = await waiting
    assert (sequences(batch), batch.caught_up, batch.opened) == ([8], False, True)


async def test_a_heartbeat_that_knows_more_than_we_saw_opens_anew(
    connection: ToldConnection, feed: Feed
) -> None:
    await take(feed)
    await connection.deliver(1, 1)
    await take(feed)
    await connection.control(Nats_Last_Consumer="2")
    connection.last = 2
    assert (await take(feed)).opened
    assert connection.made[1]["opt_start_seq"] == 2


async def test_silence_without_heartbeats_opens_anew(
    connection: ToldConnection, feed: Feed
) -> None:
    await take(feed)
    assert (await take(feed)).opened
    assert len(connection.made) == 2


async def test_a_reconnect_opens_anew_as_often_as_it_takes(
    connection: ToldConnection, feed: Feed
) -> None:
    await take(feed)
    connection.failures = 2
    connection.reconnect()
    assert (await take(feed)).opened


async def test_flow_control_is_answered_when_the_reader_takes_what_came_before(
    connection: ToldConnection, feed: Feed
) -> None:
    await take(feed)
    await connection.deliver(1, 1)
    await connection.control("flow.1", Description="FlowControl Request")
    assert connection.published == []
    await take(feed)
    assert connection.published == ["flow.1"]


async def test_a_stream_that_ends_earlier_than_before_is_another_one(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last = 7
    await take(feed)
    connection.last = 3
    connection.reconnect()
    with pytest.raises(Replaced, match="ends at 3, but 7 was read"):
        await take(feed)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (Start.all(), {"deliver_policy": "all"}),
        (Start.after(4), {"deliver_policy": "by_start_sequence", "opt_start_seq": 5}),
        (
            Start.at(1_700_000_000_123_456_789),
            {
                "deliver_policy": "by_start_time",
                "opt_start_time": "2023-11-14T22:13:20.123456789Z",
            },
        ),
    ],
)
def test_a_start_is_told_in_the_servers_words(start: Start, expected: dict[str, object]) -> None:
    assert start.consumer() == expected


async def test_a_stream_that_was_made_anew_is_another_one_though_its_numbers_would_fit(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last = 7
    await take(feed)
    connection.last, connection.generation = 9, "now"
    await connection.delete()  # heard at once, not at the next missed heartbeat
    with pytest.raises(Replaced, match="made anew"):
        await take(feed)


async def test_while_a_backup_is_restored_a_feed_waits_for_what_comes(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last = 7
    await take(feed)
    connection.generation, connection.restoring = "now", True
    await connection.delete()
    waiting = asyncio.create_task(take(feed))
    await asyncio.sleep(0)
    made = len(connection.made)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.shield(waiting)
    assert len(connection.made) == made
    connection.restoring = False
    with pytest.raises(Replaced):
        await waiting


async def test_a_feed_of_one_generation_does_not_begin_with_another(
    connection: ToldConnection,
) -> None:
    feed = Feed(connection, "s", start=Start.all(), generation="before")  # type: ignore[arg-type]
    with pytest.raises(Replaced):
        await take(feed)


async def test_a_node_that_is_behind_the_leader_does_not_make_a_feed_that_is_caught_up(
    connection: ToldConnection, feed: Feed
) -> None:
    """Its consumer says that nothing is waiting, for it knows only of what the node has."""
    connection.last, connection.kept, connection.pending = 9, [4, 8, 9], 1
    waiting = asyncio.create_task(take(feed))
    await until(lambda: connection.made)
    await connection.deliver(4, 1, pending=0)
    batch = await waiting
    assert (sequences(batch), batch.revision, batch.caught_up) == ([4], 4, False)
    await connection.deliver(8, 2, pending=0)
    batch = await take(feed)
    assert (batch.revision, batch.caught_up) == (8, False)
    await connection.deliver(9, 3, pending=0)
    batch = await take(feed)
    assert (batch.revision, batch.caught_up) == (9, True)


async def test_a_node_that_has_nothing_yet_does_not_make_an_empty_feed(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last, connection.kept = 9, [9]
    waiting = asyncio.create_task(take(feed))
    await until(lambda: connection.made)
    await connection.deliver(9, 1)
    batch = await waiting
    assert (sequences(batch), batch.caught_up) == ([9], True)


async def test_what_is_gone_at_the_end_of_a_stream_is_not_waited_for(
    connection: ToldConnection, feed: Feed
) -> None:
    connection.last, connection.kept, connection.pending = 9, [4], 1
    waiting = asyncio.create_task(take(feed))
    await until(lambda: connection.made)
    await connection.deliver(4, 1)
    batch = await waiting
    assert (batch.revision, batch.caught_up) == (9, True)


NOTHING_LEFT = {"num_pending": 0, "delivered": {"consumer_seq": 0}}


async def test_a_consumer_that_is_gone_says_nothing_of_the_end(
    connection: ToldConnection, feed_of_several: Feed
) -> None:
    connection.last = 10
    waiting = asyncio.create_task(take(feed_of_several))
    await until(lambda: len(connection.made) >= 2)  # another one is made, from the beginning
    assert connection.made[1]["deliver_policy"] == "last_per_subject"
    assert not waiting.done()
    connection.consumer = NOTHING_LEFT
    batch = await waiting
    assert (batch.revision, batch.caught_up) == (10, True)


async def test_a_node_that_is_behind_is_left_for_another(
    connection: ToldConnection, nodes: ToldNodes, feed_of_several: Feed
) -> None:
    connection.last, connection.consumer, nodes.behind = 10, NOTHING_LEFT, True
    waiting = asyncio.create_task(take(feed_of_several))
    await until(lambda: len(connection.made) >= 2)
    nodes.behind = False
    assert (await waiting).caught_up


async def test_whether_all_is_there_is_asked_again_when_nobody_answered(
    connection: ToldConnection, nodes: ToldNodes, feed_of_several: Feed
) -> None:
    connection.last, connection.consumer, nodes.away = 10, NOTHING_LEFT, 1
    assert (await take(feed_of_several)).caught_up
