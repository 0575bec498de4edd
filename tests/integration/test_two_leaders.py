"""A node that does not know that another one leads refuses a write that the other one stores.

Both hear of a write while links come back one by one, and the one that was is sooner with its
answer, for it stores nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_services.blueprint.settings import Settings
from draft_services.engine.connection import Connection
from draft_services.engine.errors import NO_STREAM, WRONG_LAST_SEQUENCE, NotFound, refused

from tests.support.blueprint import Node, blueprint_node, value
from tests.support.nats import Nats, running_nats

KEYS = "$KV.keys."
# What there may be to refuse: of those that go together, all are.
CONDITIONS = {"Nats-Expected-Last-Subject-Sequence", "Nats-Batch-Commit"}
REFUSAL = {"err_code": WRONG_LAST_SEQUENCE, "code": 400, "description": "wrong last sequence: 1"}


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture(params=["what it tells of a key is old, too", "what it tells of a key is new"])
async def node(
    nats: Nats, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    """What is written on conditions is refused, and stored before or after that."""
    store, ask = Connection.write, Connection.api
    late: set[asyncio.Task[Any]] = set()

    async def write(
        self: Connection, subject: str, payload: bytes, *, doing: str, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        storing = asyncio.create_task(store(self, subject, payload, doing=doing, headers=headers))
        if not subject.startswith(KEYS) or not CONDITIONS & headers.keys():
            return await storing
        late.add(storing)
        if len(late) % 2:
            await asyncio.wait({storing})
        if storing.done() and storing.exception():
            return await storing
        raise refused(REFUSAL, doing)

    async def api(self: Connection, verb: str, *rest: Any, **named: Any) -> dict[str, Any]:
        if verb == "STREAM.MSG.GET.KV_keys" and "old" in request.param:
            raise NotFound("there is none", code=NO_STREAM - 22)
        return await ask(self, verb, *rest, **named)

    async with blueprint_node(Settings(nats=nats.url)) as made:
        await made.keys.Get(pb.GetRequest(key="leader", value=value()), wait_for_ready=True)
        monkeypatch.setattr(Connection, "write", write)
        monkeypatch.setattr(Connection, "api", api)
        try:
            yield made
        finally:
            monkeypatch.undo()
            await asyncio.gather(*late, return_exceptions=True)


async def test_a_condition_that_held_is_not_refused_and_the_revision_is_that_of_the_write(
    node: Node,
) -> None:
    revision = 0
    for count in range(10):
        request = pb.SetRequest(key="count", value=value(str(count)), expected_revision=revision)
        revision = (await node.keys.Set(request)).revision
        held = await node.keys.Get(pb.GetRequest(key="count", value=value()))
        assert (held.value, held.revision) == (value(str(count)), revision)
    past = await node.keys.History(pb.HistoryRequest(key="count", value=value()))
    assert len(past.versions) == 10


async def test_of_those_who_count_together_each_counts_once(node: Node) -> None:
    await node.keys.Set(pb.SetRequest(key="count", value=value("")))

    async def count() -> int:
        while True:
            held = await node.keys.Get(pb.GetRequest(key="count", value=value()))
            request = pb.SetRequest(key="count", value=value(""), expected_revision=held.revision)
            try:
                return (await node.keys.Set(request)).revision
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED:
                    raise

    reached = await asyncio.gather(*(count() for _ in range(20)))
    assert len(set(reached)) == 20
    past = await node.keys.History(pb.HistoryRequest(key="count", value=value()))
    assert len(past.versions) == 21


async def test_writes_that_go_together_are_stored_once_each(node: Node) -> None:
    requests = [pb.SetRequest(key=f"k/{n}", value=value("x")) for n in range(50)]
    answers = await asyncio.gather(*map(node.keys.Set, requests))
    assert len({answer.revision for answer in answers}) == 50
    for request, answer in zip(requests, answers, strict=True):
        past = await node.keys.History(pb.HistoryRequest(key=request.key, value=value()))
        assert [each.revision for each in past.versions] == [answer.revision]


async def test_a_condition_that_does_not_hold_is_refused(node: Node) -> None:
    await node.keys.Set(pb.SetRequest(key="k", value=value("x")))
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await node.keys.Set(pb.SetRequest(key="k", value=value("y"), expected_revision=1))
    assert failed.value.code() is grpc.StatusCode.ABORTED
