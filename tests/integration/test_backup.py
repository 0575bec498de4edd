"""Backups of a running engine through Blueprint's BackupService, and what a restore brings back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from random import randbytes

import grpc
import pytest
from draft_api.core.registry.backup.v1 import service_pb2 as pb
from draft_api.core.registry.backup.v1.service_pb2_grpc import BackupServiceStub
from draft_api.core.registry.key_value.v1 import service_pb2 as kv
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry_pb
from draft_services.blueprint.settings import Settings
from draft_services.engine import restoring, streams
from draft_services.engine.connection import Connection, connect
from draft_services.engine.errors import NotFound, Replaced, Unavailable
from draft_services.engine.feed import Start
from draft_services.engine.log import Log, Record

from tests.support.blueprint import Node, blueprint_node, details, value
from tests.support.nats import Nats, running_nats
from tests.support.services import running_blueprint
from tests.support.waiting import until_answered

Parts = list[pb.CreateResponse]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as server:
        yield server


def node_on(nats: Nats, **settings: object) -> contextlib.AbstractAsyncContextManager[Node]:
    return blueprint_node(Settings(nats=nats.url, **settings))  # type: ignore[arg-type]


async def write(node: Node, key: str, text: str, **more: object) -> int:
    request = kv.SetRequest(key=key, value=value(text), **more)  # type: ignore[arg-type]
    return (await node.keys.Set(request)).revision


async def read(node: Node) -> dict[str, tuple[str, int]]:
    """Every plain key but `leader`: its text and its revision."""
    listed = await node.keys.List(kv.ListRequest(value=value()))
    found = {}
    for key in sorted(set(listed.values) - {"leader"}):
        answer = await node.keys.Get(kv.GetRequest(key=key, value=value()))
        text = value()
        text.CopyFrom(answer.value)
        found[key] = (text.value.decode()[2:], answer.revision)
    return found


async def take(node: Node, nonce: str = "") -> Parts:
    return [part async for part in node.backup.Create(pb.CreateRequest(nonce=nonce))]


def asked(parts: Parts, nonce: str = "") -> list[pb.RestoreRequest]:
    """The requests that restore a backup, as dctl sends them: without what tells what runs."""
    requests = [pb.RestoreRequest(nonce=nonce)]
    live = False
    for part in parts:
        match part.WhichOneof("part"):
            case "stream":
                live = part.stream.live
                if not live:
                    requests.append(pb.RestoreRequest(stream=part.stream))
            case "chunk" if not live:
                requests.append(pb.RestoreRequest(chunk=part.chunk))
            case "end" if not live:
                requests.append(pb.RestoreRequest(end=part.end))
    return requests


async def put_back(node: Node, requests: Sequence[pb.RestoreRequest]) -> pb.RestoreResponse:
    async def sent() -> AsyncIterator[pb.RestoreRequest]:
        for request in requests:
            yield request

    return await node.backup.Restore(sent())


async def ended(node: Node) -> Exception:
    """What the node ends with, as a process does for its supervisor to start it again."""
    async with asyncio.timeout(5):
        with pytest.raises((Replaced, NotFound)) as ended:
            await node.service.watch(asyncio.Event())
    return ended.value


@contextlib.asynccontextmanager
async def log_on(nats: Nats) -> AsyncIterator[tuple[Connection, Log]]:
    connection = await connect(nats.url, name="test")
    log = Log(connection, "ce")
    await log.open()
    try:
        yield connection, log
    finally:
        await connection.close()


async def events(log: Log) -> list[tuple[int, bytes]]:
    found = []
    async with log.feed(Start.all()) as feed:
        async for batch in feed:
            found += [(message.sequence, message.data) for message in batch.messages]
            if batch.caught_up:
                return found
    raise AssertionError("a feed ended")


async def until_gone(node: Node, key: str) -> None:
    request = kv.WatchRequest(value=value(), prefix=key)
    async with asyncio.timeout(10):
        async for told in node.keys.Watch(request):
            if any(event.kind == kv.WatchEvent.KIND_DELETE for event in told.events):
                return


async def watched_until(node: Node, revision: int) -> None:
    async with asyncio.timeout(20):
        async for told in node.keys.Watch(kv.WatchRequest(value=value())):
            if told.revision >= revision:
                return


def records(*texts: str) -> list[Record]:
    return [Record(("t", "s"), text.encode(), id=text) for text in texts]


async def test_a_restore_brings_back_keys_and_events_with_their_numbers_and_nothing_later(
    nats: Nats,
) -> None:
    async with log_on(nats) as (_, log), node_on(nats) as node:
        await write(node, "a", "1")
        await write(node, "b", "1")
        await write(node, "b", "2")
        await node.keys.Delete(kv.DeleteRequest(key="a", value=value()))
        await write(node, "short", "x", ttl={"seconds": 4})
        await write(node, "long", "x", ttl={"seconds": 3600})
        before, told = await read(node), await log.append(records("e1", "e2"))
        assert [each.sequence for each in told] == [1, 2]
        backup = await take(node)
        await write(node, "b", "3")
        await write(node, "late", "1")
        await log.append(records("e3"))
        restored = await put_back(node, asked(backup))
        assert {each.name for each in restored.streams} == {"KV_keys", "KV_signing", "ce"}
        await ended(node)
    async with log_on(nats) as (_, log), node_on(nats) as node:
        assert await read(node) == before
        assert await events(log) == [(1, b"e1"), (2, b"e2")]
        assert [each.sequence for each in await log.append(records("e4"))] == [3]
        await until_gone(node, "short")
        assert "long" in await read(node)


async def test_a_backup_is_one_moment_of_a_stream_while_it_is_written_to(nats: Nats) -> None:
    async with node_on(nats) as node:
        running = True

        async def go_on() -> int:
            number = 0
            while running:
                number += 1
                await write(node, f"k{number % 50}", str(number))
            return number

        writing = asyncio.create_task(go_on())
        await watched_until(node, 300)
        backup = await take(node)
        running = False
        last = await writing
        await put_back(node, asked(backup))
        await ended(node)
    async with node_on(nats) as node:
        numbers = sorted(int(text) for text, _ in (await read(node)).values())
        assert numbers == list(range(numbers[-1] - 49, numbers[-1] + 1))  # none is missing between
        assert 300 <= numbers[-1] < last


async def test_streams_of_many_chunks_come_back_whole(nats: Nats) -> None:
    texts = [randbytes(60_000) for _ in range(200)]  # more than the engine sends ahead
    async with log_on(nats) as (_, log), node_on(nats) as node:
        for at in range(0, len(texts), 50):
            await log.append([Record(("t", "s"), text) for text in texts[at : at + 50]])
        backup = await take(node)
        assert sum(part.WhichOneof("part") == "chunk" for part in backup) > 40
        await log.append(records("later"))
        await put_back(node, asked(backup))
    async with log_on(nats) as (_, log):
        assert await events(log) == list(enumerate(texts, 1))


async def test_a_block_of_small_messages_that_keeps_the_engine_busy_is_no_stalled_restore(
    nats: Nats,
) -> None:
    # It takes one block out of a snapshot message by message, syncing the disk for each, and gives
    # up when nothing else comes for five seconds.
    texts = [b"%x" % number for number in range(12_000)]
    async with log_on(nats) as (_, log), node_on(nats) as node:
        for at in range(0, len(texts), 1000):
            await log.append([Record(("t", "s"), text) for text in texts[at : at + 1000]])
        await put_back(node, asked(await take(node)))
    async with log_on(nats) as (_, log):
        assert await events(log) == list(enumerate(texts, 1))


async def test_a_restore_into_another_engine_brings_the_same(nats: Nats, tmp_path: Path) -> None:
    async with log_on(nats) as (_, log), node_on(nats) as node:
        for number in range(5):
            await write(node, f"k{number}", str(number))
        await log.append(records("e1"))
        before, backup = await read(node), await take(node)
    with running_nats(tmp_path / "other") as other:
        async with node_on(other) as node:
            # More than was backed up: the numbers go back, and nobody reads the old ones on.
            for number in range(20):
                await write(node, f"o{number}", "other")
            await put_back(node, asked(backup))
            await ended(node)
        async with log_on(other) as (_, log), node_on(other) as node:
            assert await read(node) == before
            assert await events(log) == [(1, b"e1")]


@pytest.mark.parametrize("later", [0, 3, 30], ids=["equal", "shorter", "longer"])
async def test_whoever_reads_ends_whatever_the_numbers_of_the_restored_stream_are(
    nats: Nats, tmp_path: Path, later: int
) -> None:
    async with log_on(nats) as (_, log):
        await log.append(records(*(f"a{number}" for number in range(10))))
        async with node_on(nats) as node:
            backup = await take(node)
    with running_nats(tmp_path / "other") as other:
        async with log_on(other) as (_, log), node_on(other) as node:
            texts = [f"b{number}" for number in range({0: 10, 3: 13, 30: 4}[later])]
            await log.append(records(*texts))
            seen: list[bytes] = []
            caught_up = asyncio.Event()

            async def follow() -> None:
                async with log.feed(Start.all()) as feed:
                    async for batch in feed:
                        seen.extend(message.data for message in batch.messages)
                        if batch.caught_up:
                            caught_up.set()

            reading = asyncio.create_task(follow())
            await caught_up.wait()
            await put_back(node, asked(backup))
            async with asyncio.timeout(3):  # not the heartbeat's 12 s
                with pytest.raises(Replaced, match=r"was made anew|ends at"):
                    await reading
            assert seen == [text.encode() for text in texts]


async def test_until_a_node_has_begun_anew_it_answers_nothing_that_was_replaced(
    nats: Nats,
) -> None:
    async with node_on(nats) as node, node_on(nats) as other:
        await write(node, "a", "before")
        backup = await take(node)
        await write(node, "a", "after")
        await put_back(node, asked(backup))
        for each in (node, other):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await each.keys.Get(kv.GetRequest(key="a", value=value()))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await ended(each)


async def test_a_watch_cannot_be_resumed_across_a_restore_though_its_revision_would_fit(
    nats: Nats,
) -> None:
    async def first(node: Node, **asked: object) -> kv.WatchResponse:
        request = kv.WatchRequest(value=value(), **asked)  # type: ignore[arg-type]
        async for told in node.keys.Watch(request):
            return told
        raise AssertionError("a watch ended")

    async with node_on(nats) as node:
        revision = await write(node, "a", "1")
        before = (await first(node)).generation
        await put_back(node, asked(await take(node)))
    async with node_on(nats) as node:
        await write(node, "a", "2")
        with pytest.raises(grpc.aio.AioRpcError, match="another generation") as refused:
            await first(node, from_revision=revision, generation=before)
        assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
        now = (await first(node)).generation
        assert now != before
        assert await first(node, from_revision=revision, generation=now)
        assert await first(node, from_revision=revision)  # whoever does not say, as ever


async def test_what_is_cut_off_or_changed_on_the_way_is_never_put_in_place(nats: Nats) -> None:
    async with node_on(nats) as node:
        await write(node, "a", "1")
        requests = asked(await take(node))
        at = next(n for n, r in enumerate(requests) if r.WhichOneof("part") == "chunk")
        flipped = bytearray(requests[at].chunk)
        flipped[len(flipped) // 2] ^= 1
        wrong = [*requests[:at], pb.RestoreRequest(chunk=bytes(flipped)), *requests[at + 1 :]]
        for sent in (wrong, requests[: at + 1]):
            with pytest.raises(
                grpc.aio.AioRpcError, match=r"is not what was|has no end"
            ) as refused:
                await put_back(node, sent)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await ended(node)
    async with node_on(nats) as node:  # begins empty, as of a stream that was lost
        assert await read(node) == {}
        await put_back(node, requests)
    async with node_on(nats) as node:
        assert [text for text, _ in (await read(node)).values()] == ["1"]


async def test_a_restore_whose_blueprint_dies_half_way_is_finished_by_running_it_again(
    nats: Nats, tmp_path: Path
) -> None:
    async with log_on(nats) as (_, log), node_on(nats) as node:
        await write(node, "a", "1")
        await log.append(records("e1"))
        before, requests = await read(node), asked(await take(node))
    half = next(n for n, each in enumerate(requests) if each.stream.name == "ce") + 1
    with running_blueprint(tmp_path, nats.url) as blueprint:
        async with grpc.aio.insecure_channel(blueprint.address) as channel:

            async def stuck() -> AsyncIterator[pb.RestoreRequest]:
                for request in requests[:half]:
                    yield request
                await asyncio.Event().wait()

            call = BackupServiceStub(channel).Restore(stuck())
            connection = await connect(nats.url, name="test")

            async def taken_away() -> bool:  # the keys are back already, the events are not
                return await streams.names(connection) == [
                    *("KV_keys", "KV_processes", "KV_signing", "leases", "restoring")
                ]

            await until_answered(taken_away)
            blueprint.kill()
            with pytest.raises(grpc.aio.AioRpcError):
                await call
            await connection.close()
        # It waits until the sign has run out: then nobody goes on with that restore.
        await asyncio.to_thread(blueprint.start)
        async with grpc.aio.insecure_channel(blueprint.address) as channel:
            await BackupServiceStub(channel).Restore(iter(requests))
    async with log_on(nats) as (_, log), node_on(nats) as node:
        assert await read(node) == before
        assert await events(log) == [(1, b"e1")]


async def test_while_a_restore_is_under_way_nothing_is_made_anew_and_no_other_one_begins(
    nats: Nats,
) -> None:
    connection = await connect(nats.url, name="test")
    try:
        async with node_on(nats) as node:
            requests = asked(await take(node))
            async with restoring.restoring(connection):
                with pytest.raises(grpc.aio.AioRpcError, match="another restore") as refused:
                    await put_back(node, requests)
                assert refused.value.code() is grpc.StatusCode.ABORTED
                with pytest.raises(Unavailable, match="being restored"):
                    await Log(connection, "ce").open()
            await Log(connection, "ce").open()
            await put_back(node, requests)
    finally:
        await connection.close()


async def test_processes_of_now_register_anew_after_a_restore_and_old_ones_do_not_come_back(
    nats: Nats,
) -> None:
    async with node_on(nats) as node:
        gone = await node.registry.Initialize(registry_pb.InitializeRequest(name="gone"))
        backup = await take(node)
        await node.registry.Finalize(
            registry_pb.FinalizeRequest(
                pid=gone.process_identity.pid, token=gone.process_identity.token.jwt
            )
        )
        live = await node.registry.Initialize(registry_pb.InitializeRequest(name="live"))
        assert [part.stream.name for part in backup if part.stream.live] == ["KV_processes"]
        await put_back(node, asked(backup))
    async with node_on(nats) as node:
        assert not (await node.registry.Query(registry_pb.QueryRequest())).data
        stream = node.registry.Synchronize(iter([details(live.process_identity)]))
        with pytest.raises(grpc.aio.AioRpcError) as refused:  # so its chassis initializes anew
            await stream.read()
        assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_what_tells_what_runs_cannot_be_restored(nats: Nats) -> None:
    async with node_on(nats) as node:
        backup = await take(node)
        stream = next(part.stream for part in backup if part.stream.live)
        with pytest.raises(grpc.aio.AioRpcError, match="tells what runs"):
            await put_back(node, [pb.RestoreRequest(nonce=""), pb.RestoreRequest(stream=stream)])


async def test_only_who_knows_the_nonce_and_comes_directly_is_served(
    nats: Nats, tmp_path: Path
) -> None:
    secret = tmp_path / "nonce"
    secret.write_text("pearl\n")
    async with node_on(nats, nonce=str(secret)) as node:
        backup = await take(node, "pearl")
        describe = pb.DescribeRequest(nonce="pearl")
        assert (await node.backup.Describe(describe)).versions.engine
        through = [("x-draft-ingress", "http://edge")]
        for refused, code in (
            (take(node, "coral"), grpc.StatusCode.UNAUTHENTICATED),
            (put_back(node, asked(backup, "coral")), grpc.StatusCode.UNAUTHENTICATED),
            (
                node.backup.Describe(describe, metadata=through),
                grpc.StatusCode.PERMISSION_DENIED,
            ),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await refused
            assert error.value.code() is code
