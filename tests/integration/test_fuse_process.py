"""`python -m draft_services.fuse` as a process: killed, ended, measured."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

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
from tests.support.fuse import fuse_process
from tests.support.ingress import echo_route, eventually, grpc_backend, load
from tests.support.nats import running_nats
from tests.support.services import Service
from tests.support.waiting import until

MAX_IDLE_RSS = 90 << 20
ECHO = Path(__file__).parents[2] / "services" / "examples" / "echo"

T = TypeVar("T")


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[blueprint.Node]:
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint.blueprint_node(Settings(nats=nats.url)) as running:
            yield running


@pytest.fixture
def listen() -> int:
    return free_port()


@pytest.fixture
async def fuse(tmp_path: Path, node: blueprint.Node, listen: int) -> AsyncIterator[Service]:
    async with in_threads(fuse_process(tmp_path, node.address, listen)) as process:
        yield process


@pytest.fixture
async def envoy(tmp_path: Path, fuse: Service, listen: int) -> AsyncIterator[Envoy]:
    with running_envoy(tmp_path / "envoy", fuse.port, listen) as running:
        await asyncio.to_thread(running.wait_listening)
        yield running


@contextlib.asynccontextmanager
async def in_threads(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave without blocking the loop, in which Blueprint runs."""
    entered = await asyncio.to_thread(manager.__enter__)
    try:
        yield entered
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def add(fuse: Service, route: networking.Route) -> None:
    async with grpc.aio.insecure_channel(fuse.address) as channel:
        await networking_grpc.NetworkingServiceStub(channel).AddRoute(
            networking.AddRouteRequest(route=route), timeout=20, wait_for_ready=True
        )


async def test_a_killed_process_costs_no_request_and_comes_back_with_its_routes(
    fuse: Service, envoy: Envoy
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
            await asyncio.to_thread(fuse.start)
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
    fuse: Service, envoy: Envoy
) -> None:
    """The proxy's stream never ends by itself; waiting out the grace for it would be in vain."""
    began = time.monotonic()
    assert await asyncio.to_thread(fuse.stop) == 0, fuse.log()
    assert time.monotonic() - began < 4, fuse.log()


async def test_it_is_in_the_registry_and_small(
    node: blueprint.Node, fuse: Service, envoy: Envoy
) -> None:
    async def registered() -> bool:
        wanted = discovery.QueryRequest(filter=discovery.Filter(name="fuse"))
        found = (await node.registry.Query(wanted)).data.values()
        return [process.ip_address for process in found] == [fuse.address]

    await eventually(registered)
    assert psutil.Process(fuse.pid).memory_info().rss < MAX_IDLE_RSS


@contextlib.asynccontextmanager
async def echo_process(
    folder: Path, instance: str, registry: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The echo example, as a user wrote it."""
    environment = os.environ | {
        "DRAFT_SERVICE_ENTRYPOINT": registry,
        "DRAFT_INSTANCE": instance,
        "DRAFT_SERVICE_NETWORK_BIND_PORT": str(free_port()),
    }
    with (folder / f"{instance}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(ECHO / "main.py"), env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_service_of_the_chassis_is_served_scaled_and_drained(
    tmp_path: Path, node: blueprint.Node, envoy: Envoy
) -> None:
    """It routes itself, takes JSON, is balanced over three, and ends without a failed request."""
    url = f"{envoy.url}/examples.echo.v1.EchoService/Speak"

    def speak() -> bytes:
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(url, data=b'{"input":"hi"}', headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bytes(answer.read())

    async def call() -> None:
        assert await asyncio.to_thread(speak) == b'{"output":"hi"}'

    async def answers() -> bool:
        try:
            await call()
        except (OSError, AssertionError):
            return False
        return True

    def shares() -> list[int]:
        page = f"http://127.0.0.1:{envoy.admin}/clusters?format=json"
        with urllib.request.urlopen(page, timeout=5) as answer:
            clusters = json.load(answer)["cluster_statuses"]
        (found,) = (c for c in clusters if c["name"] == "service/echo/h2")
        return [
            int(next(s.get("value", 0) for s in host["stats"] if s["name"] == "rq_success"))
            for host in found.get("host_statuses", ())
        ]

    async def three_busy() -> bool:
        found = await asyncio.to_thread(shares)
        return len(found) == 3 and min(found) >= 20

    async with contextlib.AsyncExitStack() as stack:
        start = stack.enter_async_context
        await start(echo_process(tmp_path, "echo-1", node.address))
        await eventually(answers)
        async with load(call) as met:
            second = await start(echo_process(tmp_path, "echo-2", node.address))
            await start(echo_process(tmp_path, "echo-3", node.address))
            await eventually(three_busy, within=20)
            second.terminate()
            assert await asyncio.wait_for(second.wait(), 10) == 0
            after = met.succeeded
            await until(lambda: met.succeeded > after + 50)
        assert met.failures == []
