"""Who calls Blueprint, and what they may: proofs, permissions, a rate, and what is noted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.consensus.raft.v1 import service_pb2 as raft
from draft_api.core.consensus.raft.v1.service_pb2_grpc import RaftServiceStub
from draft_api.core.registry.key_value.v1 import service_pb2 as kv
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry
from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
    ServiceDiscoveryServiceStub,
)
from draft_services.blueprint.access import Permissions
from draft_services.blueprint.rpc import gate as gate_module
from draft_services.blueprint.settings import Settings

from chassis import guard as guard_module
from chassis.clients import connect
from chassis.guard import Guard
from chassis.proof import HEADER, by_nonce, by_token, nonce_of
from tests.support.blueprint import Node, blueprint_node, value
from tests.support.nats import Nats, running_nats

SECRET = "pearl"
PERMISSIONS = {"orders": Permissions(read=("shop/", "orders/"), write=("orders/",))}
ORDERS = by_nonce("orders", nonce_of(SECRET, "orders"))
DCTL = by_nonce("dctl", SECRET)


@pytest.fixture
def nats(tmp_path: Path) -> Any:
    with running_nats(tmp_path / "nats") as server:
        yield server


@asynccontextmanager
async def guarded(nats: Nats, folder: Path, **more: Any) -> AsyncIterator[Node]:
    (folder / "nonce").write_text(SECRET)
    settings = Settings(nats=nats.url, nonce=str(folder / "nonce"), permissions=PERMISSIONS, **more)
    async with blueprint_node(settings) as node:
        yield node


class As:
    """Calls that prove who makes them, or do not."""

    def __init__(self, node: Node, proof: str = "") -> None:
        self._channel = connect(node.address, (lambda: proof) if proof else None)
        self.keys: Any = KeyValueServiceStub(self._channel)
        self.raft: Any = RaftServiceStub(self._channel)
        self.registry: Any = ServiceDiscoveryServiceStub(self._channel)

    async def __aenter__(self) -> As:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def set(self, key: str) -> grpc.StatusCode:
        return await code_of(self.keys.Set(kv.SetRequest(key=key, value=value("x"))))

    async def get(self, key: str) -> grpc.StatusCode:
        return await code_of(self.keys.Get(kv.GetRequest(key=key, value=value())))

    async def list(self, prefix: str) -> grpc.StatusCode:
        return await code_of(self.keys.List(kv.ListRequest(prefix=prefix, value=value())))

    async def delete(self, key: str) -> grpc.StatusCode:
        return await code_of(self.keys.Delete(kv.DeleteRequest(key=key, value=value())))

    async def watch(self, prefix: str) -> grpc.StatusCode:
        stream = self.keys.Watch(kv.WatchRequest(prefix=prefix, value=value()))
        return await code_of(stream.read())


async def code_of(call: Any) -> grpc.StatusCode:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


OK, DENIED = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "proof",
    [
        "",
        "Bearer what",
        by_nonce("orders", "guess"),
        by_nonce("billing", nonce_of(SECRET, "orders")),
    ],
)
async def test_who_proves_nothing_is_refused(nats: Nats, tmp_path: Path, proof: str) -> None:
    async with guarded(nats, tmp_path, calls="token") as node, As(node, proof) as stranger:
        refused = DENIED if proof.startswith("Bearer") else UNKNOWN
        assert await stranger.set("a") is refused
        assert await stranger.watch("") is refused


async def test_a_service_may_do_what_it_is_permitted_and_nothing_else(
    nats: Nats, tmp_path: Path
) -> None:
    async with (
        guarded(nats, tmp_path, calls="token") as node,
        As(node, DCTL) as dctl,
        As(node, ORDERS) as orders,
    ):
        assert await dctl.set("shop/name") is OK
        assert await orders.set("orders/1") is OK
        assert await orders.get("shop/name") is OK
        assert await orders.list("orders/") is OK
        assert await orders.watch("shop/") is OK
        assert await orders.delete("orders/1") is OK
        assert await orders.set("shop/name") is DENIED
        assert await orders.delete("shop/name") is DENIED
        assert await orders.get("secret/key") is DENIED
        assert await orders.list("") is DENIED
        assert await orders.watch("") is DENIED
        assert await orders.get("leader") is OK
        assert await orders.list("leader") is DENIED


async def test_in_a_batch_each_operation_is_judged_by_itself(nats: Nats, tmp_path: Path) -> None:
    async with guarded(nats, tmp_path, calls="token") as node, As(node, ORDERS) as orders:
        operations = [
            kv.BatchOperation(set=kv.SetRequest(key=key, value=value("x")))
            for key in ("orders/1", "shop/name")
        ]
        answer = await orders.keys.Batch(kv.BatchRequest(operations=operations))
        first, second = answer.results
        assert first.WhichOneof("result") == "set"
        assert second.error.code == DENIED.value[0]


async def test_a_process_proves_itself_with_its_token_for_as_long_as_it_is_registered(
    nats: Nats, tmp_path: Path
) -> None:
    async with guarded(nats, tmp_path, calls="token") as node:
        request = registry.InitializeRequest(name="orders", nonce=nonce_of(SECRET, "orders"))
        process = (await node.registry.Initialize(request)).process_identity
        async with As(node, by_token(process.token.jwt)) as orders:
            assert await orders.set("orders/1") is OK
            assert await orders.set("shop/name") is DENIED
            farewell = registry.FinalizeRequest(pid=process.pid, token=process.token.jwt)
            await node.registry.Finalize(farewell)
            assert await orders.set("orders/1") is UNKNOWN


async def test_a_watch_ends_when_who_watches_is_no_longer_registered(
    nats: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_module, "_AGAIN", 0.05)
    async with guarded(nats, tmp_path, calls="token") as node:
        request = registry.InitializeRequest(name="orders", nonce=nonce_of(SECRET, "orders"))
        process = (await node.registry.Initialize(request)).process_identity
        async with As(node, by_token(process.token.jwt)) as orders, As(node, DCTL) as dctl:
            keys = orders.keys.Watch(kv.WatchRequest(prefix="shop/", value=value()))
            processes = orders.registry.Watch(registry.WatchRequest())
            for number in range(4):  # it goes on while it may
                await dctl.set(f"shop/{number}")
                while not (await keys.read()).events:
                    pass
            farewell = registry.FinalizeRequest(pid=process.pid, token=process.token.jwt)
            await node.registry.Finalize(farewell)
            async with asyncio.timeout(10):
                assert await code_of(_to_its_end(keys)) is UNKNOWN
                assert await code_of(_to_its_end(processes)) is UNKNOWN


async def _to_its_end(stream: Any) -> None:
    async for _ in stream:
        pass


async def test_a_service_cannot_register_under_the_name_of_another(
    nats: Nats, tmp_path: Path
) -> None:
    async with guarded(nats, tmp_path, calls="token") as node:
        request = registry.InitializeRequest(name="fuse", nonce=nonce_of(SECRET, "orders"))
        assert await code_of(node.registry.Initialize(request)) is UNKNOWN


async def test_who_calls_too_often_is_told_to_wait_and_nobody_else(
    nats: Nats, tmp_path: Path
) -> None:
    async with (
        guarded(nats, tmp_path, calls="token", rate=2) as node,
        As(node, DCTL) as dctl,
        As(node, ORDERS) as orders,
    ):
        codes = [await orders.get("orders/1") for _ in range(6)]
        assert codes[0] is grpc.StatusCode.NOT_FOUND
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes[4:]
        assert await dctl.set("a") is OK


async def test_writes_and_what_was_denied_are_noted_without_values(
    nats: Nats, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "draft.audit")
    async with (
        guarded(nats, tmp_path, calls="token", audit=True) as node,
        As(node, ORDERS) as orders,
    ):
        await orders.set("orders/1")
        await orders.delete("orders/1")
        await orders.set("shop/name")
        await orders.get("orders/1")
        denied = kv.BatchOperation(set=kv.SetRequest(key="shop/name", value=value("x")))
        await orders.keys.Batch(kv.BatchRequest(operations=[denied]))
        async with As(node, "Nonce orders guess") as stranger:
            await stranger.get("orders/1")
    noted = [record for record in caplog.records if record.name == "draft.audit"]
    told: list[Any] = [(r.getMessage(), getattr(r, "key", "")) for r in noted]
    assert told[:2] == [("set", "orders/1"), ("delete", "orders/1")]
    assert "orders may not write 'shop/name'" in told[2][0]
    assert "orders may not write 'shop/name'" in told[3][0]
    assert "nonce" in told[4][0]
    assert len(told) == 5
    first: Any = noted[0]
    assert first.who == "orders"
    assert "127.0.0.1" in getattr(first, "from")
    assert first.revision > 0


async def test_a_batch_counts_for_each_of_its_operations(nats: Nats, tmp_path: Path) -> None:
    async with guarded(nats, tmp_path, calls="token", rate=10) as node, As(node, ORDERS) as orders:
        one = kv.BatchOperation(get=kv.GetRequest(key="orders/1", value=value()))
        batch = kv.BatchRequest(operations=[one] * 15)
        assert await code_of(orders.keys.Batch(batch)) is OK
        assert await code_of(orders.keys.Batch(batch)) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_what_concerns_all_takes_the_clusters_own_nonce(nats: Nats, tmp_path: Path) -> None:
    async with guarded(nats, tmp_path, calls="token") as node, As(node, ORDERS) as orders:
        assert await code_of(orders.raft.Remove(raft.RemoveRequest(node_id="n"))) is DENIED
        assert await code_of(orders.registry.ReportHealth(registry.ReportHealthRequest())) is DENIED
    async with guarded(nats, tmp_path, calls="token") as node, As(node, DCTL) as dctl:
        assert await code_of(dctl.registry.ReportHealth(registry.ReportHealthRequest())) is OK


async def test_where_nobody_is_asked_anybody_may_call(nats: Nats, tmp_path: Path) -> None:
    async with guarded(nats, tmp_path) as node, As(node) as anybody:
        assert await anybody.set("shop/name") is OK


async def test_a_core_service_lets_in_who_blueprint_knows_and_who_was_known_while_it_is_away(
    nats: Nats, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = [(HEADER, "Nonce orders guess")]
    async with guarded(nats, tmp_path, calls="token") as node:
        channel = connect(node.address, lambda: DCTL)
        guard = Guard(lambda: channel)
        assert await guard.refusal([(HEADER, ORDERS)]) is None
        refused = await guard.refusal(stranger)
        assert refused is not None
        assert refused.code is UNKNOWN
        unnamed = await guard.refusal([])
        assert unnamed is not None
        assert unnamed.code is UNKNOWN
    monkeypatch.setattr(guard_module, "_BELIEVED", 0.0)
    assert await guard.refusal([(HEADER, ORDERS)]) is None
    unasked = await guard.refusal(stranger)
    assert unasked is not None
    assert unasked.code is grpc.StatusCode.UNAVAILABLE
    await channel.close()
