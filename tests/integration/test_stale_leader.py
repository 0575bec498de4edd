"""A node of the engine that leads a stream, is cut off from the others, and has not heard that
another one leads now."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1.service_pb2 import SetRequest
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_services.engine.accounts import login
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, NotFound, Unavailable
from draft_services.engine.jetstream import JetStreamStore
from draft_services.engine.nodes import Nodes
from draft_services.engine.store import Key

from tests.support.apart import BLUEPRINTS, ENGINES, Apart
from tests.support.blueprint import value
from tests.support.clients import EAGER, LOST, get
from tests.support.faults import cluster_for_faults
from tests.support.links import both, no_links
from tests.support.trio import Trio
from tests.support.waiting import until_answered

KEY = Key("type.googleapis.com/test", "stale")
LEADER, *REST = ENGINES
ATTEMPTS = 3  # to have another leader chosen before the one that was knows better


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio | Apart]:
    with cluster_for_faults(tmp_path_factory.mktemp("stale")) as made:
        yield made


@pytest.fixture
def apart(cluster: Trio | Apart) -> Iterator[Apart]:
    """The cluster, if its links can be cut; they are whole afterwards."""
    if not isinstance(cluster, Apart):
        pytest.skip(no_links())
    try:
        yield cluster
    finally:
        cluster.links.heal()


class Wires:
    """Connections to single nodes."""

    def __init__(self, cluster: Trio | Apart) -> None:
        self._urls = {node: f"nats://{cluster.address(node)}" for node in ENGINES}
        self._secret = str(cluster.secret)
        self._open: list[Connection] = []

    async def to(self, node: str, user: str = "draft") -> Connection:
        made = Connection(self._urls[node], name="test", ping=60, login=login(self._secret, user))
        await made.open()
        self._open.append(made)
        return made

    async def close(self) -> None:
        for each in self._open:
            await each.close()


@contextlib.asynccontextmanager
async def wires(cluster: Trio | Apart) -> AsyncIterator[Wires]:
    made = Wires(cluster)
    try:
        yield made
    finally:
        await made.close()


async def led_by(wire: Connection) -> str:
    """Who leads the stream of keys, as the node behind `wire` has it."""
    return str((await wire.api("STREAM.INFO.KV_keys"))["cluster"].get("leader", ""))


async def made_leader(wire: Connection, node: str) -> bool:
    """Whether `node` leads that stream; it is asked to."""
    with contextlib.suppress(EngineError):
        if await led_by(wire) == node:
            return True
        preferred = {"placement": {"preferred": node}}
        await wire.api("STREAM.LEADER.STEPDOWN.KV_keys", preferred)
    return False


async def written(store: JetStreamStore) -> int:
    """The revision of a write that was acknowledged; 0: nobody leads as yet."""
    try:
        return await store.put(KEY, b"written without the leader that was")
    except Unavailable:
        return 0


@pytest.mark.timeout(180)
async def test_what_it_says_as_the_leader_that_it_was_is_not_believed(apart: Apart) -> None:
    for _ in range(ATTEMPTS):
        apart.links.heal()
        async with wires(apart) as open_:
            wire = await open_.to(LEADER)
            asked = JetStreamStore(wire, "keys", Nodes(wire, await open_.to(LEADER, "system")))
            others = JetStreamStore(await open_.to(REST[0]), "keys")
            await until_answered(lambda wire=wire: made_leader(wire, LEADER), within=60)
            apart.links.cut(apart.links.around(LEADER, among=REST))
            revision = await until_answered(lambda others=others: written(others), within=60)
            if await led_by(wire) != LEADER:
                continue
            with pytest.raises(Unavailable):
                await asked.revision()
            apart.links.heal()

            async def told(asked: JetStreamStore = asked) -> int:
                with contextlib.suppress(Unavailable):
                    return await asked.revision()
                return 0

            assert await until_answered(told, within=60) >= revision
            return
    pytest.fail("the leader that was knew of the next one each time: nothing was tried")


class Caller:
    """Somebody who knows one Blueprint only, and asks it for one key."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = KeyValueServiceStub(channel)

    async def read(self) -> str:
        """What the key holds; "" when that is not told."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            return (await get(self._stub, "who"))[0] or ""
        return ""

    async def write(self, text: str) -> str:
        """The text, once it is acknowledged; "" when it is not."""
        try:
            await self._stub.Set(SetRequest(key="who", value=value(text)), timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() not in LOST:
                raise
            return ""
        return text


@pytest.mark.timeout(180)
async def test_a_blueprint_that_has_that_leader_alone_takes_no_write_and_shows_nothing_old(
    apart: Apart,
) -> None:
    links, (own, their) = apart.links, BLUEPRINTS
    async with wires(apart) as open_:
        wire = await open_.to(LEADER)
        links.cut(links.around(own, among=REST) + both(their, LEADER))
        for node in BLUEPRINTS:
            apart.kill(node)  # so that each has a connection to those that it reaches
        async with (
            grpc.aio.insecure_channel(apart.address(own), options=EAGER) as one,
            grpc.aio.insecure_channel(apart.address(their), options=EAGER) as other,
        ):
            here, there = Caller(one), Caller(other)
            await until_answered(lambda: here.write("before"), within=60)
            assert await until_answered(there.read, within=60) == "before"
            await until_answered(lambda: made_leader(wire, LEADER), within=60)
            links.cut(links.around(LEADER, among=REST))
            seen: list[str] = []

            async def ask() -> None:
                while True:
                    seen.append(await here.write("from the side of the leader that was"))

            asking = asyncio.create_task(ask())
            await until_answered(lambda: there.write("after"), within=60)
            assert not any(await asyncio.gather(*(here.read() for _ in range(10))))
            asking.cancel()
            assert not any(seen)
            links.heal()
            assert await until_answered(here.read, within=60) != "before"


async def test_a_stream_is_read_to_its_end_though_what_was_there_is_gone(
    cluster: Trio | Apart,
) -> None:
    async with wires(cluster) as open_:
        wire = await open_.to("nats-1")
        store = JetStreamStore(wire, "keys", Nodes(wire, await open_.to("nats-1", "system")))

        async def gone() -> bool:
            """The key, and the engine's mark that it is gone, were the last of the stream."""
            with contextlib.suppress(Unavailable):
                state = (await wire.api("STREAM.INFO.KV_keys"))["state"]
                try:
                    last = await wire.api("STREAM.MSG.GET.KV_keys", {"seq": state["last_seq"]})
                except NotFound:
                    return True
                if not last["message"]["subject"].endswith(f".{KEY.name}"):
                    await store.put(KEY, b"short", ttl=1)
            return False

        await until_answered(gone, within=60)
        async with asyncio.timeout(10), store.changes() as feed:
            async for told in feed:
                if told.caught_up:
                    break
        assert told.revision == await store.revision()
