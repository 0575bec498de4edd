"""`python -m draft_services.fuse` as a process: killed, ended, measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psutil
import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as networking_grpc
from draft_api.core.registry.service_discovery.v1 import service_pb2 as discovery
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_grpc
from draft_services.blueprint.settings import Settings

from tests.support import blueprint
from tests.support.envoy import Envoy, free_port, running_envoy
from tests.support.fuse import FuseProcess, fuse_process
from tests.support.ingress import echo_route, eventually, grpc_backend, load
from tests.support.nats import running_nats
from tests.support.waiting import until

MAX_IDLE_RSS = 90 << 20


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[blueprint.Node]:
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint.blueprint_node(Settings(nats=nats.url)) as running:
            yield running


@pytest.fixture
def listen() -> int:
    return free_port()


@pytest.fixture
def fuse(tmp_path: Path, node: blueprint.Node, listen: int) -> FuseProcess:
    with fuse_process(tmp_path, node.address, listen) as process:
        yield process


@pytest.fixture
async def envoy(tmp_path: Path, fuse: FuseProcess, listen: int) -> Envoy:
    with running_envoy(tmp_path / "envoy", fuse.port, listen) as running:
        await asyncio.to_thread(running.wait_listening)
        yield running


async def add(fuse: FuseProcess, route: networking.Route) -> None:
    async with grpc.aio.insecure_channel(fuse.address) as channel:
        await networking_grpc.NetworkingServiceStub(channel).AddRoute(
            networking.AddRouteRequest(route=route), timeout=20, wait_for_ready=True
        )


async def test_a_killed_process_costs_no_request_and_comes_back_with_its_routes(
    fuse: FuseProcess, envoy: Envoy
) -> None:
    async with (
        grpc_backend() as backend,
        grpc.aio.insecure_channel(f"127.0.0.1:{envoy.listen}") as channel,
    ):
        stub = echo_grpc.EchoServiceStub(channel)

        async def call() -> None:
            await stub.Speak(echo.SpeakRequest(input="x"), timeout=5)

        await add(fuse, echo_route("before", endpoint=backend.endpoint))
        async with load(call) as met:
            await until(lambda: met.succeeded > 50)
            fuse.kill()
            during = met.succeeded
            await until(lambda: met.succeeded > during + 100)
            fuse.start()
            # It takes routes again, beside the one that it knows from before.
            await add(fuse, echo_route("after", endpoint=backend.endpoint))
            after = met.succeeded
            await until(lambda: met.succeeded > after + 100)
        assert met.failures == []
    async with grpc.aio.insecure_channel(fuse.address) as channel:
        listed = await networking_grpc.NetworkingServiceStub(channel).ListRoutes(
            networking.ListRoutesRequest()
        )
    assert [route.name for route in listed.routes] == ["after", "before"]


async def test_it_ends_within_seconds_though_a_proxy_is_connected(
    fuse: FuseProcess, envoy: Envoy
) -> None:
    """The proxy's stream never ends by itself; waiting out the grace for it would be in vain."""
    began = time.monotonic()
    assert await asyncio.to_thread(fuse.stop) == 0, fuse.log()
    assert time.monotonic() - began < 4, fuse.log()


async def test_it_is_in_the_registry_and_small(
    node: blueprint.Node, fuse: FuseProcess, envoy: Envoy
) -> None:
    async def registered() -> bool:
        wanted = discovery.QueryRequest(filter=discovery.Filter(name="fuse"))
        found = (await node.registry.Query(wanted)).data.values()
        return [process.ip_address for process in found] == [fuse.address]

    await eventually(registered)
    assert psutil.Process(fuse.pid).memory_info().rss < MAX_IDLE_RSS
