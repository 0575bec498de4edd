"""KeyValueService on a real engine: the contract of the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import data_definition_lang_pb2 as ddl
from draft_api.core.registry.key_value.v1 import models_pb2, service_pb2
from draft_api.core.registry.key_value.v1.service_pb2 import (
    BatchOperation,
    BatchRequest,
    DeleteRequest,
    GetRequest,
    ListRequest,
    QueryRequest,
    SetRequest,
    WatchEvent,
    WatchRequest,
)
from draft_services.blueprint.settings import Settings
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration

from tests.support.blueprint import Node, blueprint_node, packed, value
from tests.support.nats import Nats, running_nats
from tests.support.waiting import until

PUT, DELETE, SYNCED = WatchEvent.KIND_PUT, WatchEvent.KIND_DELETE, WatchEvent.KIND_SYNCED
OTHER = packed(ddl.ID(uuid="other"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def node(server: Nats) -> AsyncIterator[Node]:
    async with blueprint_node(Settings(nats=server.url)) as running:
        yield running


class Watching:
    """Collects a watch's events in the background."""

    def __init__(self, node: Node, request: WatchRequest) -> None:
        self.events: list[WatchEvent] = []
        self.revision = 0
        self._call = node.keys.Watch(request)
        self.task = asyncio.create_task(self._collect())

    async def __aenter__(self) -> Watching:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def seen(self, count: int) -> list[tuple[int, str]]:
        await until(lambda: len(self.events) >= count or self.task.done())
        if self.task.done():
            self.task.result()
        return [(event.kind, event.key) for event in self.events]

    async def _collect(self) -> None:
        async for response in self._call:
            self.events += response.events
            self.revision = response.revision


async def put(node: Node, key: str, text: str = "", **fields: object) -> int:
    request = SetRequest(key=key, value=value(text), **fields)  # type: ignore[arg-type]
    return (await node.keys.Set(request)).revision


async def code_of(call: object) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call  # type: ignore[misc]
    return failure.value.code(), failure.value.details() or ""


async def test_the_same_key_exists_once_for_every_type(node: Node) -> None:
    await node.keys.Set(SetRequest(key=" k ", value=value("mine")))
    await node.keys.Set(SetRequest(key="k", value=OTHER))
    answer = await node.keys.Get(GetRequest(key="k\n", value=value()))
    assert models_pb2.Value.FromString(answer.value.value).data == "mine"
    assert (await node.keys.Get(GetRequest(key="k", value=OTHER))).value == OTHER
    assert (await node.keys.Delete(DeleteRequest(key="k", value=value()))).revision > 0
    assert (await node.keys.Delete(DeleteRequest(key="k", value=value()))).revision == 0
    code, _ = await code_of(node.keys.Get(GetRequest(key="k", value=value())))
    assert code == grpc.StatusCode.NOT_FOUND
    assert list((await node.keys.List(ListRequest(value=OTHER))).values) == ["k"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (SetRequest(key="  ", value=value()), "key"),
        (SetRequest(key="ä" * 513, value=value()), "key"),
        (SetRequest(key="k"), "value.type_url"),
        (SetRequest(key="k", value=value(), ttl=Duration(seconds=-1)), "ttl"),
    ],
)
async def test_bad_input_is_refused_naming_the_field(
    node: Node, request_: SetRequest, field: str
) -> None:
    code, words = await code_of(node.keys.Set(request_))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith(f"{field}:")


async def test_limits_are_inclusive(node: Node) -> None:
    """The longest key and the largest value are stored; one byte more is refused by name."""
    longest = "ä" * 512
    largest = Any(type_url=value().type_url, value=b"x" * (1024 * 1024))
    await node.keys.Set(SetRequest(key=longest, value=largest))
    answer = await node.keys.Get(GetRequest(key=longest, value=value()))
    assert answer.value == largest
    larger = Any(type_url=value().type_url, value=b"x" * (1024 * 1024 + 1))
    code, words = await code_of(node.keys.Set(SetRequest(key="k", value=larger)))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1048576" in words


async def test_a_condition_that_does_not_hold_names_the_current_revision(node: Node) -> None:
    revision = await put(node, "k", expected_revision=0)
    code, words = await code_of(
        node.keys.Set(SetRequest(key="k", value=value(), expected_revision=0))
    )
    assert code == grpc.StatusCode.ABORTED
    assert f"revision {revision}" in words
    assert await put(node, "k", expected_revision=revision) > revision


async def test_counters_incremented_on_conditions_by_many_lose_nothing(node: Node) -> None:
    async def increment(times: int) -> None:
        while times:
            try:
                answer = await node.keys.Get(GetRequest(key="n", value=value()))
                count = int(models_pb2.Value.FromString(answer.value.value).data)
                await put(node, "n", str(count + 1), expected_revision=answer.revision)
                times -= 1
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.ABORTED:
                    raise

    await put(node, "n", "0")
    await asyncio.gather(*(increment(20) for _ in range(5)))
    answer = await node.keys.Get(GetRequest(key="n", value=value()))
    assert models_pb2.Value.FromString(answer.value.value).data == "100"


async def test_pages_hold_every_key_of_the_prefix_in_order(node: Node) -> None:
    names = [f"a/{number:02}" for number in range(25)]
    await asyncio.gather(*(put(node, name) for name in reversed(names)))
    await put(node, "b")
    await node.keys.Set(SetRequest(key="a/other", value=OTHER))
    listed: list[str] = []
    request = ListRequest(value=value(), prefix="a/", page_size=10)
    while True:
        page = await node.keys.List(request)
        assert len(page.values) <= 10
        listed += sorted(page.values)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert listed == names
    everything = await node.keys.List(ListRequest(value=value()))
    assert set(everything.values) == {*names, "b", "leader"}
    code, _ = await code_of(node.keys.List(ListRequest(value=value(), page_token="nonsense")))
    assert code == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_watch_tells_what_is_there_then_synced_then_changes(node: Node) -> None:
    await put(node, "a")
    await put(node, "other")
    async with Watching(node, WatchRequest(value=value(), prefix="a")) as watching:
        assert await watching.seen(2) == [(PUT, "a"), (SYNCED, "")]
        await put(node, "ab")
        await put(node, "b")
        await node.keys.Delete(DeleteRequest(key="a", value=value()))
        assert (await watching.seen(4))[2:] == [(PUT, "ab"), (DELETE, "a")]
        last = watching.events[-1]
        assert last.value.type_url == value().type_url
        assert watching.revision == last.revision


async def test_a_watch_of_every_type_says_which(node: Node) -> None:
    await put(node, "k")
    await node.keys.Set(SetRequest(key="k", value=OTHER))
    async with Watching(node, WatchRequest(prefix="k")) as watching:
        await watching.seen(3)
        assert {event.value.type_url for event in watching.events[:2]} == {
            value().type_url,
            OTHER.type_url,
        }


async def test_a_resumed_watch_tells_every_change_once_and_in_order(server: Nats) -> None:
    """From memory, and from the engine by a node that has just started."""
    settings = Settings(nats=server.url)
    async with blueprint_node(settings) as node:
        first = await put(node, "a", "1")
        for text in ("2", "3"):
            await put(node, "a", text)
        await node.keys.Delete(DeleteRequest(key="gone", value=value()))
        request = WatchRequest(value=value(), from_revision=first)
        async with Watching(node, request) as watching:
            assert await watching.seen(2) == [(PUT, "a")] * 2
    async with blueprint_node(settings) as fresh, Watching(fresh, request) as watching:
        await watching.seen(2)
        await put(fresh, "b")
        assert await watching.seen(3) == [(PUT, "a"), (PUT, "a"), (PUT, "b")]
        revisions = [event.revision for event in watching.events]
        assert revisions == sorted(set(revisions))


async def test_a_watch_from_before_what_is_kept_is_out_of_range(server: Nats) -> None:
    settings = Settings(nats=server.url)
    async with blueprint_node(settings) as node:
        first = await put(node, "a")
        for _ in range(70):  # more than the history of one key
            await put(node, "b")
        code, words = await code_of(
            node.keys.Watch(WatchRequest(from_revision=first + 1000)).read()
        )
        assert code == grpc.StatusCode.OUT_OF_RANGE
    async with blueprint_node(settings) as fresh:
        code, words = await code_of(fresh.keys.Watch(WatchRequest(from_revision=first)).read())
        assert code == grpc.StatusCode.OUT_OF_RANGE
        assert "watch again from 0" in words


async def test_what_runs_out_is_told_and_gone(node: Node) -> None:
    await put(node, "k", "kept")
    async with Watching(node, WatchRequest(value=value(), prefix="k")) as watching:
        await watching.seen(2)
        await put(node, "k", "lease", ttl=Duration(seconds=1))
        assert (await watching.seen(4))[2:] == [(PUT, "k"), (DELETE, "k")]
    code, _ = await code_of(node.keys.Get(GetRequest(key="k", value=value())))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_what_ran_out_while_the_engine_was_away_is_gone(node: Node, server: Nats) -> None:
    """The engine tells of an expiry for a second only; a view that missed it finds out, and who
    watches hears of it."""
    await put(node, "k", ttl=Duration(seconds=1))
    await put(node, "stays")
    async with Watching(node, WatchRequest(value=value(), prefix="k")) as watching:
        await watching.seen(2)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(1.2)  # the TTL itself has to pass
        await asyncio.to_thread(server.start)
        assert (await watching.seen(3))[2] == (DELETE, "k")

    listed: list[str] = []
    async with asyncio.timeout(20):
        while listed != ["leader", "stays"]:
            try:
                listed = sorted((await node.keys.List(ListRequest(value=value()))).values)
            except grpc.aio.AioRpcError as error:  # the node is still reconnecting
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise


async def test_a_batch_answers_every_operation_in_order(node: Node) -> None:
    answer = await node.keys.Batch(
        BatchRequest(
            operations=[
                BatchOperation(set=SetRequest(key="a", value=value("1"))),
                BatchOperation(set=SetRequest(key="", value=value("1"))),
                BatchOperation(get=GetRequest(key="a", value=value())),
                BatchOperation(delete=DeleteRequest(key="a", value=value())),
                BatchOperation(get=GetRequest(key="a", value=value())),
                BatchOperation(),
            ]
        )
    )
    kinds = [result.WhichOneof("result") for result in answer.results]
    assert kinds == ["set", "error", "get", "delete", "error", "error"]
    assert answer.results[4].error.code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_a_query_selects_by_fields(node: Node) -> None:
    await put(node, "a", "red")
    await put(node, "b", "blue")

    def query(**where: object) -> service_pb2.QueryRequest:
        statement = ddl.Statement(kind=value(), operation=ddl.SELECT, **where)  # type: ignore[arg-type]
        return QueryRequest(statement=statement)

    red = await node.keys.Query(query(key_val=ddl.Equal(match={"data": "red"})))
    assert list(red.values) == ["a"]
    assert list((await node.keys.Query(query(id=ddl.ID(uuid="b")))).values) == ["b"]
    code, words = await code_of(node.keys.Query(query(key_val=ddl.Equal(match={"colour": "red"}))))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "colour" in words
    deletion = QueryRequest(statement=ddl.Statement(kind=value(), operation=ddl.DELETE))
    code, words = await code_of(node.keys.Query(deletion))
    assert "SELECT only" in words


async def test_a_caller_through_the_ingress_is_told_the_ingress(node: Node) -> None:
    await put(node, "fuse_address", "http://127.0.0.1:18000")
    through = (("x-draft-ingress", "http://shop.example.com"),)

    async def text(key: str, metadata: tuple[tuple[str, str], ...] = ()) -> str:
        answer = await node.keys.Get(GetRequest(key=key, value=value()), metadata=metadata)
        return models_pb2.Value.FromString(answer.value.value).data

    assert await text("leader") == f"http://{node.address}"
    assert await text("leader", through) == "http://shop.example.com"
    assert await text("fuse_address") == "http://127.0.0.1:18000"
    assert await text("fuse_address", through) == "http://shop.example.com"


async def test_an_absent_engine_is_unavailable_with_words(node: Node, server: Nats) -> None:
    server.kill()
    for call in (
        node.keys.Set(SetRequest(key="k", value=value())),
        node.keys.Get(GetRequest(key="k", value=value())),
    ):
        code, words = await code_of(call)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "engine" in words or "no answer" in words


async def test_two_nodes_on_one_engine_agree(server: Nats) -> None:
    """What one acknowledged, the other one shows at once, and conditions hold across both."""
    settings = Settings(nats=server.url)
    async with blueprint_node(settings) as one, blueprint_node(settings) as other:
        for number in range(30):
            revision = await put(one, "k", str(number))
            answer = await other.keys.Get(GetRequest(key="k", value=value()))
            assert answer.revision == revision
        code, _ = await code_of(
            other.keys.Set(SetRequest(key="k", value=value(), expected_revision=0))
        )
        assert code == grpc.StatusCode.ABORTED


async def history(node: Node, key: str, limit: int = 0) -> tuple[list[tuple[int, str]], bool]:
    """(kind, text) of each version, newest first; and whether these are all."""
    request = service_pb2.HistoryRequest(key=key, value=value(), limit=limit)
    answer = await node.keys.History(request)
    revisions = [version.revision for version in answer.versions]
    assert revisions == sorted(revisions, reverse=True)
    told = [(v.kind, models_pb2.Value.FromString(v.value.value).data) for v in answer.versions]
    return told, answer.complete


async def test_what_a_key_has_been_is_told_newest_first_and_of_no_other_key(node: Node) -> None:
    for text in ("1", "2", "3"):
        await put(node, "k", text)
    await put(node, "other", "x")
    await node.keys.Set(SetRequest(key="k", value=OTHER))
    assert await history(node, "k") == ([(PUT, "3"), (PUT, "2"), (PUT, "1")], True)
    assert await history(node, "k", limit=2) == ([(PUT, "3"), (PUT, "2")], False)
    assert await history(node, "never") == ([], True)


async def test_a_removal_is_the_beginning_of_what_a_key_has_been(node: Node) -> None:
    await put(node, "k", "1")
    await node.keys.Delete(DeleteRequest(key="k", value=value()))
    await put(node, "k", "2")
    assert await history(node, "k") == ([(PUT, "2"), (DELETE, "")], True)


async def test_a_long_past_is_cut_to_what_a_message_holds(node: Node) -> None:
    for number in range(6):
        await put(node, "k", str(number) * 1_000_000)
    told, complete = await history(node, "k")
    assert [text[0] for _, text in told] == ["5", "4", "3", "2"]
    assert not complete
