"""ServiceDiscoveryService on a real engine: the life of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.consensus.raft.v1 import service_pb2 as raft
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_services.blueprint.settings import Settings
from google.protobuf.timestamp_pb2 import Timestamp

from tests.support.blueprint import Node, blueprint_node, details
from tests.support.nats import Nats, running_nats
from tests.support.waiting import until, until_answered

PUT, DELETE, SYNCED = (
    pb.WatchResponse.KIND_PUT,
    pb.WatchResponse.KIND_DELETE,
    pb.WatchResponse.KIND_SYNCED,
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path) as running:
        yield running


@pytest.fixture
async def node(server: Nats) -> AsyncIterator[Node]:
    async with blueprint_node(Settings(nats=server.url)) as running:
        yield running


async def join(
    node: Node, name: str = "cart", group: str = "", nonce: str = "", **labels: str
) -> models.ProcessIdentity:
    answer = await node.registry.Initialize(
        pb.InitializeRequest(
            name=name,
            group=group,
            nonce=nonce,
            metadata=[
                models.Metadata(key=key.replace("_", "."), value=label)
                for key, label in labels.items()
            ],
        )
    )
    return answer.process_identity


async def query(node: Node, **wanted: Any) -> dict[str, models.Process]:
    answer = await node.registry.Query(pb.QueryRequest(filter=pb.Filter(**wanted)))
    return dict(answer.data)


async def find(node: Node, pid: str) -> models.Process | None:
    return (await query(node, id=pid)).get(pid)


async def beat(call: Any, identity: models.ProcessIdentity, **fields: Any) -> pb.ClusterDetails:
    await call.write(details(identity, **fields))
    answer = await call.read()
    assert isinstance(answer, pb.ClusterDetails)
    return answer


async def code_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code(), failure.value.details() or ""


class Watching:
    """Collects a watch's events in the background."""

    def __init__(self, node: Node, **wanted: Any) -> None:
        self.events: list[pb.WatchResponse] = []
        self._call = node.registry.Watch(pb.WatchRequest(filter=pb.Filter(**wanted)))
        self._task = asyncio.create_task(self._collect())

    async def __aenter__(self) -> Watching:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def seen(self, count: int) -> list[tuple[int, str]]:
        await until(lambda: len(self.events) >= count)
        return [(event.kind, event.process.pid) for event in self.events]

    async def _collect(self) -> None:
        async for event in self._call:
            self.events.append(event)


async def test_the_life_of_a_process(node: Node) -> None:
    """Initialize, beats that are answered with the nodes, and a closed stream means Finalize."""
    identity = await join(node, group="shop", zone="a")
    assert identity.registry_address == node.address
    starting = await find(node, identity.pid)
    assert starting is not None
    assert starting.running_state == models.PROCESS_STARTING
    call = node.registry.Synchronize()
    answer = await beat(call, identity, advertise_address="127.0.0.1:7")
    assert [(each.address, each.leadership_status) for each in answer.nodes] == [
        (node.address, pb.LEADERSHIP_STATUS_LEADER)
    ]
    process = await find(node, identity.pid)
    assert process is not None
    assert (process.name, process.group, process.ip_address) == ("cart", "shop", "127.0.0.1:7")
    assert process.running_state == models.PROCESS_RUNNING
    assert process.health_state == models.PROCESS_HEALTHY
    assert process.process_kind == models.SERVER_PROCESS
    assert [(label.key, label.value) for label in process.metadata] == [("zone", "a")]
    assert not process.HasField("token")
    await beat(call, identity, health_state=models.PROCESS_UNHEALTHY)
    assert list(await query(node, health_state=models.PROCESS_UNHEALTHY)) == [identity.pid]
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await find(node, identity.pid) is None


async def test_a_beat_that_changes_nothing_is_not_written(node: Node) -> None:
    """Only the memory stream of leases hears it, and the time of the last sign of life moves."""

    async def messages() -> str:
        stats = (await node.raft.Stats(raft.StatsRequest(node_id="n"))).stats.stats
        return stats["KV_processes.last_revision"]

    identity = await join(node)
    call = node.registry.Synchronize()
    await beat(call, identity)
    before, process = await messages(), await find(node, identity.pid)
    assert process is not None
    for _ in range(5):
        await beat(call, identity)

    async with asyncio.timeout(5):
        while (await find(node, identity.pid)) == process:
            pass
    assert await messages() == before
    await call.done_writing()


async def test_labels_add_up_to_no_more_than_the_limit(node: Node) -> None:
    """Those of a beat before stay, so each beat could bring some more."""
    call = node.registry.Synchronize()
    joined = await join(node)
    some = [[models.Metadata(key=f"{part}-{n}") for n in range(40)] for part in "ab"]
    await beat(call, joined, metadata=some[0])
    await call.write(details(joined, metadata=some[1]))
    code, words = await code_of(call.read())
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "80 labels" in words


async def test_a_place_that_is_no_number_is_refused(node: Node) -> None:
    """It is not even like itself, so each beat that tells it would be written."""
    call = node.registry.Synchronize()
    await call.write(details(await join(node), location=models.GeoPoint(lat=float("nan"))))
    code, words = await code_of(call.read())
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert words.startswith("location: ")


async def test_a_broken_stream_is_not_a_farewell(node: Node) -> None:
    """A client that vanished stays registered until silence tells."""
    identities = [await join(node) for _ in range(20)]

    async def vanish(identity: models.ProcessIdentity) -> None:
        async with grpc.aio.insecure_channel(node.address) as channel:
            call = Node(node.address, node.service, channel).registry.Synchronize()
            await beat(call, identity)
            call.cancel()

    for _ in range(10):
        await asyncio.gather(*map(vanish, identities))
    assert set(await query(node)) == {identity.pid for identity in identities}


async def test_a_node_that_stops_takes_nobody_along(server: Nats) -> None:
    """Streams that end because Blueprint ends are no farewells."""
    settings = Settings(nats=server.url)
    async with blueprint_node(settings) as node:
        identities = [await join(node) for _ in range(20)]
        calls = [node.registry.Synchronize() for _ in identities]
        for call, identity in zip(calls, identities, strict=True):
            await beat(call, identity)
    async with blueprint_node(settings) as node:
        assert set(await query(node)) == {identity.pid for identity in identities}


async def test_the_same_instance_replaces_its_entry(node: Node) -> None:
    async with Watching(node, name="cart") as watching:
        await watching.seen(1)
        old = await join(node, draft_instance="cart-1")
        other = await join(node, draft_instance="cart-2")
        new = await join(node, draft_instance="cart-1")
        assert set(await query(node, name="cart")) == {other.pid, new.pid}
        assert (await watching.seen(5))[1:] == [
            (PUT, old.pid),
            (PUT, other.pid),
            (DELETE, old.pid),
            (PUT, new.pid),
        ]
    call = node.registry.Synchronize()
    await call.write(details(old))
    code, words = await code_of(call.read())
    assert code == grpc.StatusCode.NOT_FOUND
    assert "initialize anew" in words


async def test_filters_are_real_and_combine(node: Node) -> None:
    one = await join(node, "cart", "shop", zone="a")
    two = await join(node, "cart", "shop", zone="b")
    three = await join(node, "mail", "office", zone="a")

    async def pids(**wanted: Any) -> set[str]:
        return set(await query(node, **wanted))

    everyone = {one.pid, two.pid, three.pid}
    assert await pids() == await pids(all="x") == everyone
    assert await pids(id=two.pid) == {two.pid}
    assert await pids(group="shop") == {one.pid, two.pid}
    assert await pids(group="shop", metadata={"zone": "a"}) == {one.pid}
    assert await pids(name="mail", metadata={"zone": "b"}) == set()
    assert await pids(id=one.pid, name="mail") == set()


async def test_a_watch_tells_who_is_there_then_changes_within_the_filter(node: Node) -> None:
    first = await join(node, "cart")
    await join(node, "mail")
    wanted = {"name": "cart", "health_state": models.PROCESS_HEALTHY}
    async with Watching(node, name="cart") as all_, Watching(node, **wanted) as healthy:
        assert await all_.seen(2) == [(PUT, first.pid), (SYNCED, "")]
        assert await healthy.seen(1) == [(SYNCED, "")]
        call = node.registry.Synchronize()
        await beat(call, first)
        await beat(call, first, health_state=models.PROCESS_UNHEALTHY)
        await call.done_writing()
        assert (await all_.seen(5))[2:] == [(PUT, first.pid), (PUT, first.pid), (DELETE, first.pid)]
        assert (await healthy.seen(3))[1:] == [(PUT, first.pid), (DELETE, first.pid)]
        assert not any(event.process.HasField("token") for event in all_.events)


async def test_a_wrong_nonce_is_refused_and_the_right_one_can_change(
    server: Nats, tmp_path: Path
) -> None:
    secret = tmp_path / "nonce"
    secret.write_text("s3cret\n")
    async with blueprint_node(Settings(nats=server.url, nonce=str(secret))) as node:
        code, words = await code_of(join(node, nonce="guess"))
        assert code == grpc.StatusCode.UNAUTHENTICATED
        assert "s3cret" not in words
        assert (await join(node, nonce="s3cret")).pid
        secret.write_text("changed")
        assert (await join(node, nonce="changed")).pid


async def test_a_token_proves_one_pid_only(node: Node) -> None:
    mine, theirs = await join(node), await join(node)
    for pid, token in ((theirs.pid, mine.token.jwt), (mine.pid, "nonsense"), (mine.pid, "")):
        code, words = await code_of(
            node.registry.Finalize(pb.FinalizeRequest(pid=pid, token=token))
        )
        assert code == grpc.StatusCode.PERMISSION_DENIED
        assert words.startswith("token:")
        forged = models.ProcessIdentity(pid=pid, token=models.Token(jwt=token))
        call = node.registry.Synchronize()
        await call.write(details(forged))
        assert (await code_of(call.read()))[0] == grpc.StatusCode.PERMISSION_DENIED
    await node.registry.Finalize(pb.FinalizeRequest(pid=mine.pid, token=mine.token.jwt))
    assert set(await query(node)) == {theirs.pid}


async def test_a_token_runs_out(server: Nats) -> None:
    settings = Settings(nats=server.url, token_lifetime=0.001)
    async with blueprint_node(settings) as node:
        identity = await join(node)
        words = ""
        async with asyncio.timeout(20):  # beyond the leeway for clocks that differ
            while not words:
                call = node.registry.Synchronize()
                await call.write(details(identity))
                try:
                    await call.read()
                    await asyncio.sleep(0.2)
                except grpc.aio.AioRpcError as error:
                    words = error.details() or ""
                finally:
                    call.cancel()
        assert "token: has run out" in words


async def test_a_process_is_given_a_new_token_on_its_stream_before_the_old_one_runs_out(
    server: Nats,
) -> None:
    settings = Settings(nats=server.url, token_lifetime=2)
    async with blueprint_node(settings) as node:
        identity = await join(node)
        call = node.registry.Synchronize()
        fresh = ""
        async with asyncio.timeout(20):
            while not fresh:
                await call.write(details(identity))
                answer = await call.read()
                fresh = answer.token.jwt
        assert fresh != identity.token.jwt
        identity.token.jwt = fresh
        await call.write(details(identity))
        assert not (await call.read()).token.jwt
        await node.registry.Finalize(pb.FinalizeRequest(pid=identity.pid, token=fresh))


async def test_a_silent_process_is_lost_then_gone_and_one_that_returns_is_back(
    server: Nats,
) -> None:
    settings = Settings(nats=server.url, silent=0.5, gone=1.5)
    async with blueprint_node(settings) as node, Watching(node) as watching:
        identity = await join(node)
        call = node.registry.Synchronize()
        await beat(call, identity)

        def states() -> list[int]:
            return [event.process.running_state for event in watching.events if event.kind == PUT]

        await until(lambda: states()[-1] == models.PROCESS_DICONNECTED)
        assert watching.events[-1].process.health_state == models.PROCESS_UNHEALTHY
        await beat(call, identity)
        await until(lambda: states()[-1] == models.PROCESS_RUNNING)
        await until(lambda: watching.events[-1].kind == DELETE)
        assert states()[-1] == models.PROCESS_DICONNECTED
        await call.write(details(identity))
        assert (await code_of(call.read()))[0] == grpc.StatusCode.NOT_FOUND


async def test_reports_from_outside_count_until_withdrawn(node: Node) -> None:
    """The process's own beats do not overrule a checker, an older report does not a newer one."""
    identity = await join(node)
    call = node.registry.Synchronize()
    await beat(call, identity)

    async def report(health: models.ProcessHealthState.ValueType, seconds: int) -> int:
        reports = [
            pb.HealthReport(pid=pid, health_state=health, observed=Timestamp(seconds=seconds))
            for pid in (identity.pid, "unknown")
        ]
        return (await node.registry.ReportHealth(pb.ReportHealthRequest(reports=reports))).accepted

    async def health() -> int:
        process = await find(node, identity.pid)
        assert process is not None
        return process.health_state

    assert await report(models.PROCESS_UNHEALTHY, 100) == 1
    await beat(call, identity)
    assert await health() == models.PROCESS_UNHEALTHY
    assert await report(models.PROCESS_HEALTHY, 99) == 0
    assert await health() == models.PROCESS_UNHEALTHY
    assert await report(models.PROCESS_HEALTHY, 101) == 1
    assert await health() == models.PROCESS_HEALTHY
    await call.done_writing()


async def test_two_nodes_share_processes_tokens_and_leases(server: Nats) -> None:
    """A process registered at one beats at the other; neither takes it for silent."""
    settings = Settings(nats=server.url, silent=0.6, gone=5)
    async with blueprint_node(settings) as one, blueprint_node(settings) as other:
        identity = await join(one)
        call = other.registry.Synchronize()
        for _ in range(12):
            await beat(call, identity)
            await asyncio.sleep(0.15)  # beats in time, for three times the limit
            seen = await find(one, identity.pid)
            assert seen is not None
            assert seen.running_state == models.PROCESS_RUNNING
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert await find(one, identity.pid) is None


async def test_a_lost_engine_expires_nobody(server: Nats) -> None:
    """After an outage longer than the limits everybody has a whole lease again."""
    settings = Settings(nats=server.url, silent=1.0, gone=2.0)
    async with blueprint_node(settings) as node, Watching(node, name="cart") as watching:
        pids = {(await join(node)).pid for _ in range(20)}
        server.kill()
        await asyncio.sleep(2.5)  # longer than `gone`, which is what is tested
        await asyncio.to_thread(server.start)

        async def answers() -> bool:
            try:
                return set(await query(node)) == pids
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return False

        await until_answered(answers)
        began = time.monotonic()
        while time.monotonic() - began < 1.5:  # nobody beats, and yet nobody is gone before 2 s
            assert set(await query(node)) == pids
            await asyncio.sleep(0.05)
        await until(lambda: sum(event.kind == DELETE for event in watching.events) == len(pids))


async def test_a_caller_through_the_ingress_is_told_the_ingress(node: Node) -> None:
    through = (("x-draft-ingress", "http://shop.example.com"),)
    answer = await node.registry.Initialize(pb.InitializeRequest(name="cart"), metadata=through)
    assert answer.process_identity.registry_address == "http://shop.example.com"
    call = node.registry.Synchronize(metadata=through)
    nodes = (await beat(call, answer.process_identity)).nodes
    assert [each.address for each in nodes] == ["http://shop.example.com"]
    await call.done_writing()


async def test_nodes_join_by_the_cluster_spec(node: Node) -> None:
    assert (await node.raft.Join(raft.JoinRequest(node_id="test"))).node_id == "test"
    code, words = await code_of(node.raft.Join(raft.JoinRequest(node_id="n9")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "core.nats.replicas" in words
    assert (await node.raft.Remove(raft.RemoveRequest(node_id="n9"))).node_id == "n9"
    code, words = await code_of(node.raft.Remove(raft.RemoveRequest(node_id="test")))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
