"""Blueprint as a process: what it acknowledged survives kills of itself and of the engine."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from draft_api.core.registry.key_value.v1 import models_pb2
from draft_api.core.registry.key_value.v1.service_pb2 import (
    GetRequest,
    ListRequest,
    SetRequest,
    WatchRequest,
)
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
    ServiceDiscoveryServiceStub,
)

from tests.support.blueprint import UNLIMITED, details, value
from tests.support.nats import Nats, running_nats
from tests.support.services import Service, running_blueprint
from tests.support.waiting import until, until_answered

RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# Without it a channel that lost its server tries again after ever longer waits.
EAGER = [*UNLIMITED, ("grpc.max_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100)]


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def blueprint(nats: Nats, tmp_path: Path) -> Iterator[Service]:
    with running_blueprint(tmp_path, nats.url) as running:
        yield running


class Writer:
    """Sets keys one after the other and remembers which were acknowledged."""

    def __init__(self, keys: Any, name: str) -> None:
        self.acknowledged: dict[str, str] = {}
        self._keys = keys
        self._name = name

    async def run(self) -> None:
        number = 0
        while True:
            number += 1
            key = f"{self._name}/{number}"
            try:
                await self._keys.Set(SetRequest(key=key, value=value(key)), timeout=3)
                self.acknowledged[key] = key
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRIED:
                    raise
                await asyncio.sleep(0.02)


async def test_nothing_acknowledged_is_lost_over_kills_of_both(
    blueprint: Service, nats: Nats
) -> None:
    """Writers go on while NATS and Blueprint are killed in turn; a resumed watch sees it all."""
    seen: list[tuple[str, int]] = []

    async def follow(keys: Any) -> None:
        revision = 0
        while True:
            try:
                request = WatchRequest(value=value(), prefix="w", from_revision=revision)
                async for response in keys.Watch(request):
                    seen.extend((event.key, event.revision) for event in response.events)
                    revision = response.revision or revision
            except grpc.aio.AioRpcError as error:
                if error.code() not in RETRIED:
                    raise
                await asyncio.sleep(0.02)

    async with grpc.aio.insecure_channel(blueprint.address, options=EAGER) as channel:
        keys: Any = KeyValueServiceStub(channel)
        writers = [Writer(keys, f"w{number}") for number in range(4)]
        tasks = [asyncio.create_task(writer.run()) for writer in writers]
        tasks.append(asyncio.create_task(follow(keys)))

        def total() -> int:
            for task in tasks:
                if task.done():
                    task.result()
            return sum(len(writer.acknowledged) for writer in writers)

        for kill in (nats.restart, blueprint.restart, nats.restart, blueprint.restart):
            goal = total() + 100
            await until(lambda goal=goal: total() >= goal, within=20)
            await asyncio.to_thread(kill)
        goal = total() + 100
        await until(lambda: total() >= goal, within=20)
        for task in tasks[:-1]:
            task.cancel()
        await asyncio.gather(*tasks[:-1], return_exceptions=True)
        expected = {key for writer in writers for key in writer.acknowledged}
        stored = await keys.List(ListRequest(value=value(), prefix="w"))
        assert expected <= set(stored.values)
        for key, kept in stored.values.items():
            assert models_pb2.Value.FromString(kept.value).data == key
        await until(lambda: set(stored.values) <= {key for key, _ in seen})
        tasks[-1].cancel()
        revisions = [revision for key, revision in seen if key]
        assert revisions == sorted(set(revisions))


async def test_processes_and_leases_resume_over_kills(nats: Nats, tmp_path: Path) -> None:
    """After each fault everybody is still there and running: lost lease state expires nobody."""
    short = {"DRAFT_BLUEPRINT_SILENT": "3", "DRAFT_BLUEPRINT_GONE": "6"}
    with running_blueprint(tmp_path, nats.url, **short) as blueprint:

        def stand_still() -> None:
            """Longer than `silent`: as a suspended laptop does, or an overloaded host."""
            blueprint.signal(signal.SIGSTOP)
            time.sleep(4)
            blueprint.signal(signal.SIGCONT)

        async with grpc.aio.insecure_channel(blueprint.address, options=EAGER) as channel:
            registry: Any = ServiceDiscoveryServiceStub(channel)

            async def query() -> dict[str, models.Process]:
                request = pb.QueryRequest(filter=pb.Filter(name="cart"))
                return dict((await registry.Query(request, wait_for_ready=True)).data)

            async def live(identity: models.ProcessIdentity) -> None:
                """As the chassis does: beat, and open the stream anew when it breaks."""
                while True:
                    call = registry.Synchronize()
                    try:
                        while True:
                            await call.write(details(identity))
                            await call.read()
                            await asyncio.sleep(0.5)
                    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                        await asyncio.sleep(0.1)
                    finally:
                        call.cancel()

            identities = [
                (await registry.Initialize(pb.InitializeRequest(name="cart"))).process_identity
                for _ in range(10)
            ]
            lives = [asyncio.create_task(live(each)) for each in identities]
            pids = {identity.pid for identity in identities}
            try:
                for fault in (blueprint.restart, nats.restart, stand_still):
                    await asyncio.to_thread(fault)
                    began = time.monotonic()
                    while time.monotonic() - began < 4:  # longer than `silent`
                        try:
                            found = await query()
                        except grpc.aio.AioRpcError as error:
                            if error.code() not in RETRIED:
                                raise
                            continue
                        assert set(found) == pids
                        states = {each.running_state for each in found.values()}
                        assert models.PROCESS_DICONNECTED not in states
                        await asyncio.sleep(0.1)
            finally:
                for each in lives:
                    each.cancel()
                await asyncio.gather(*lives, return_exceptions=True)


async def test_it_waits_for_the_engine_and_serves_only_then(tmp_path: Path) -> None:
    nats = Nats(tmp_path / "nats")
    with running_blueprint(tmp_path, nats.url, ready=False) as blueprint:
        await until(lambda: "waiting for the engine" in blueprint.log())
        assert not blueprint.serving()
        try:
            await asyncio.to_thread(nats.start)
            await asyncio.to_thread(blueprint.wait_ready)
        finally:
            nats.kill()


async def test_it_registers_with_itself_and_leaves_in_order(
    blueprint: Service, nats: Nats, tmp_path: Path
) -> None:
    async def blueprints(address: str) -> set[str]:
        async with grpc.aio.insecure_channel(address) as channel:
            registry: Any = ServiceDiscoveryServiceStub(channel)
            answer = await registry.Query(pb.QueryRequest(filter=pb.Filter(name="blueprint")))
            return {process.ip_address for process in answer.data.values()}

    async def leads(address: str) -> bool:
        async with grpc.aio.insecure_channel(address) as channel:
            keys: Any = KeyValueServiceStub(channel)
            answer = await keys.Get(GetRequest(key="leader", value=value()))
            return models_pb2.Value.FromString(answer.value.value).data == f"http://{address}"

    async def alone(address: str) -> bool:
        return await blueprints(address) == {address}

    await until_answered(lambda: alone(blueprint.address))
    assert await leads(blueprint.address)
    with running_blueprint(tmp_path, nats.url) as other:
        both = {blueprint.address, other.address}

        async def together() -> bool:
            return await blueprints(other.address) == both

        await until_answered(together)
        assert not await leads(other.address)
        assert await asyncio.to_thread(blueprint.stop) == 0
        assert await alone(other.address)
        await until_answered(lambda: leads(other.address))


async def test_idle_it_is_small_and_quiet(blueprint: Service) -> None:
    """At most 90 MB, and below 1 % of a core with itself as the only process."""
    process = psutil.Process(blueprint.pid)

    def used() -> float:
        times = process.cpu_times()
        return times.user + times.system

    await asyncio.sleep(1)  # what start-up left to do
    before = used()
    await asyncio.sleep(5)
    assert (used() - before) / 5 < 0.01
    assert process.memory_info().rss < 90 * 1024 * 1024
