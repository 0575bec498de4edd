"""The engine's disk becomes read-only: that is told, nothing acknowledged is lost, and it goes on
once the disk is mended and the node is restarted."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.consensus.raft.v1 import service_pb2 as raft_pb
from draft_api.core.consensus.raft.v1.service_pb2_grpc import RaftServiceStub
from draft_api.core.registry.key_value.v1.service_pb2 import ListRequest, SetRequest
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub

from chassis.clients import connect
from chassis.health import ask_health
from tests.support.apart import apart
from tests.support.blueprint import value
from tests.support.catalyst import ALL, consuming, event, produce
from tests.support.disk import disk_that_fails
from tests.support.links import no_links
from tests.support.nats import running_nats
from tests.support.services import Service, running_blueprint, running_service
from tests.support.waiting import until_answered

WORDS = "its disk is full or fails"


class Writer:
    """Who writes one key after the other, and knows which were acknowledged."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.acknowledged: set[str] = set()
        self._keys: Any = KeyValueServiceStub(channel)

    async def write(self) -> bool:
        key = f"k{len(self.acknowledged)}"
        try:
            await self._keys.Set(SetRequest(key=key, value=value("x" * 500)), timeout=20)
        except grpc.aio.AioRpcError:
            return False
        self.acknowledged.add(key)
        return True

    async def kept(self) -> bool:
        """Whether all that was acknowledged is there."""
        answer = await self._keys.List(ListRequest(value=value(), prefix="k"), timeout=20)
        return self.acknowledged <= answer.values.keys()


async def why(blueprint: Service) -> str:
    """Why it cannot serve; "" when it can."""
    async with connect(blueprint.address) as channel:
        return await ask_health(channel, within=5)


@pytest.mark.timeout(150)
async def test_the_only_disk_fails(tmp_path: Path) -> None:
    with (
        disk_that_fails(tmp_path / "disk", tmp_path) as disk,
        running_nats(disk.folder / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as blueprint,
        running_service("catalyst", tmp_path, DRAFT_CATALYST_NATS=nats.url) as catalyst,
    ):
        async with connect(blueprint.address) as keys, connect(catalyst.address) as events:
            writer = Writer(keys)
            for _ in range(50):
                assert await writer.write()
            (stored,) = await produce(events, [event("before")])
            assert stored.id == "before"
            disk.fail()

            async def told_of_keys() -> bool:
                assert not await writer.write()
                return WORDS in await why(blueprint)

            async def told_of_events() -> bool:
                (answer,) = await produce(events, [event("meanwhile")])
                assert not answer.id
                refused = answer.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
                return refused and WORDS in answer.error.message and WORDS in await why(catalyst)

            await asyncio.gather(
                until_answered(told_of_keys, within=90), until_answered(told_of_events, within=90)
            )
            assert await writer.kept()
            nats.kill()
            disk.mend()
            nats.start()

            async def well() -> bool:
                return not (await why(blueprint) or await why(catalyst))

            await until_answered(well, within=30)
            assert await writer.write()
            assert await writer.kept()
            (stored,) = await produce(events, [event("after")])
            assert stored.id == "after"
            async with consuming(events, start=ALL) as consumer:
                assert (await consumer.until(2))[-1] == "after"


async def does(stub: Any, node: str) -> str:
    """How the copy of the keys on a node does, as `dctl cluster status` is told; "" for unknown."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        answer = await stub.Stats(raft_pb.StatsRequest(), timeout=20)
        return str(answer.stats.stats.get(f"KV_keys.node.{node}", ""))
    return ""


@pytest.mark.timeout(180)
async def test_the_disk_of_one_of_three_fails(tmp_path: Path) -> None:
    if reason := no_links():
        pytest.skip(reason)
    with disk_that_fails(tmp_path / "nats-1", tmp_path) as disk, apart(tmp_path) as cluster:
        async with grpc.aio.insecure_channel(cluster.address("blueprint-1")) as channel:
            writer, raft = Writer(channel), RaftServiceStub(channel)
            await until_answered(writer.write, within=60)
            disk.fail()

            async def told() -> bool:
                """The others go on, and it is seen that this one does not."""
                return await writer.write() and "behind" in await does(raft, "nats-1")

            await until_answered(told, within=60)
            cluster.restart("nats-1", disk.mend)

            async def well() -> bool:
                return await writer.write() and await does(raft, "nats-1") in ("online", "leads")

            await until_answered(well, within=60)
            assert await writer.kept()
