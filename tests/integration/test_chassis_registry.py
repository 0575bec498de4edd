"""A chassis service and a real Blueprint, which may be late, gone, new or hung."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as discovery
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as discovery_rpc
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_rpc
from draft_services.blueprint.settings import Settings
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from chassis import Chassis
from chassis.clients import connect
from chassis.testing import Running, running, settings
from tests.support import blueprint
from tests.support.core_stub import CoreStub, refuse
from tests.support.nats import running_nats
from tests.support.relay import Relay, relay_to
from tests.support.services import running_blueprint
from tests.support.waiting import until, until_answered

ECHO = "examples.echo.v1.EchoService"


class Echo(echo_rpc.EchoServiceServicer):
    def __init__(self, says: str = "") -> None:
        self.says = says

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        return echo.SpeakResponse(output=self.says or request.input)


class Asking(echo_rpc.EchoServiceServicer):
    """Asks another service for the answer."""

    def __init__(self, app: Chassis[Any], other: str) -> None:
        self._app, self._other = app, other

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        other: Any = self._app.client(echo_rpc.EchoServiceStub, self._other)
        answer: echo.SpeakResponse = await other.Speak(request, timeout=10)
        return answer


@contextlib.asynccontextmanager
async def new_node(folder: Path, **more: Any) -> AsyncIterator[blueprint.Node]:
    with running_nats(folder) as nats:
        async with blueprint.blueprint_node(Settings(nats=nats.url, **more)) as running_node:
            yield running_node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[blueprint.Node]:
    async with new_node(tmp_path / "nats") as made:
        yield made


@pytest.fixture
async def link(node: blueprint.Node) -> AsyncIterator[Relay]:
    """An address of Blueprint's that can go away."""
    async with relay_to(node.address) as relay:
        yield relay


def make(entrypoint: str, says: str = "", *, instance: str = "", **draft: Any) -> Chassis[Any]:
    """The service "shop"; `draft` are settings of the chassis."""
    config = dict(settings("shop", blueprint=entrypoint, instance=instance))
    config["draft"] = {**config["draft"], **draft}
    app = Chassis(config=config)
    app.add_servicer(Echo(says))
    return app


def make_asking(entrypoint: str) -> Chassis[Any]:
    """A service that calls "shop"."""
    app = Chassis(config=settings("asking", blueprint=entrypoint))
    app.add_servicer(Asking(app, "shop"))
    return app


async def processes(node: blueprint.Node, name: str = "shop") -> list[models.Process]:
    """Those that are known, once they have said where they are."""
    request = discovery.QueryRequest(filter=discovery.Filter(name=name))
    answer = await node.registry.Query(request, timeout=10)
    return [process for process in answer.data.values() if process.ip_address]


async def registered(node: blueprint.Node, name: str = "shop") -> models.Process:
    return (await until_answered(lambda: processes(node, name)))[0]


async def speak(service: Running, text: str = "hi") -> str:
    stub: Any = service.stub(echo_rpc.EchoServiceStub)
    return str((await stub.Speak(echo.SpeakRequest(input=text), timeout=10)).output)


async def test_a_service_is_in_the_registry_for_as_long_as_it_serves(node: blueprint.Node) -> None:
    async with running(make(node.address, instance="shop-1")) as service:
        process = await registered(node)
        assert process.ip_address == str(service.address)
        assert process.running_state == models.PROCESS_RUNNING
        assert process.health_state == models.PROCESS_HEALTHY
        assert process.process_kind == models.SERVER_PROCESS
        assert [(label.key, label.value) for label in process.metadata] == [
            ("draft.instance", "shop-1")
        ]
    assert await processes(node) == []


async def test_a_service_serves_before_blueprint_is_there_and_registers_then(
    node: blueprint.Node, link: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    await link.cut()
    async with running(make(link.address)) as service:
        await until(lambda: "not registered: UNAVAILABLE" in caplog.text)
        assert await speak(service) == "hi"
        await link.listen()
        assert (await registered(node)).ip_address == str(service.address)


async def test_a_break_of_the_connection_keeps_the_pid(
    node: blueprint.Node, link: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(make(link.address, beat=0.1)):
        before = await registered(node)
        await link.cut()
        await until(lambda: "not registered" in caplog.text)
        cut = time.time_ns()
        await link.listen()

        async def heard_again() -> bool:
            [after] = await processes(node)
            assert after.pid == before.pid
            return after.last_status_time.ToNanoseconds() > cut

        await until_answered(heard_again)


async def test_a_restart_of_blueprint_keeps_the_pid(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with (
        running_nats(tmp_path / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as process,
    ):
        async with running(make(process.address, beat=0.1)):
            before = await _process(process.address)
            await asyncio.to_thread(process.kill)
            await until(lambda: "not registered" in caplog.text)
            await asyncio.to_thread(process.start)
            assert (await _process(process.address)).pid == before.pid
            assert caplog.messages.count("registered") == 1


async def test_a_blueprint_that_hangs_is_left_and_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        running_nats(tmp_path / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as process,
    ):
        async with running(make(process.address, beat=0.1)) as service:
            before = await _process(process.address)
            process.signal(signal.SIGSTOP)
            try:
                await until(lambda: "Blueprint does not answer" in caplog.text, within=30)
                assert await speak(service) == "hi"
            finally:
                process.signal(signal.SIGCONT)
            assert (await _process(process.address)).pid == before.pid


async def test_a_service_ends_though_blueprint_hangs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        running_nats(tmp_path / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as process,
    ):
        try:
            async with running(make(process.address)):
                await _process(process.address)
                process.signal(signal.SIGSTOP)
        finally:
            process.signal(signal.SIGCONT)
    assert "not finalized: DEADLINE_EXCEEDED" in caplog.text


async def test_a_blueprint_that_knows_nothing_any_more_is_told_everything(
    node: blueprint.Node, link: Relay, tmp_path: Path
) -> None:
    async with running(make(link.address, beat=0.1)) as service:
        before = await registered(node)
        await descriptors(node)
        async with new_node(tmp_path / "other") as other:
            link.target = other.address
            await link.cut()
            await link.listen()
            after = await registered(other)
            assert after.pid != before.pid
            assert after.ip_address == str(service.address)
            await descriptors(other)


async def test_a_wrong_nonce_is_told_once_with_blueprints_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    core = CoreStub()
    core.answers["Initialize"] = refuse(grpc.StatusCode.UNAUTHENTICATED, "nonce: is not ours")
    core.start()
    try:
        async with running(make(core.address)):
            await until(lambda: len(core.requests.get("Initialize", [])) >= 4)
    finally:
        core.stop()
    told = [each for each in caplog.messages if "nonce" in each]
    assert told == ["not registered: UNAUTHENTICATED: nonce: is not ours; trying again"]


async def test_a_right_nonce_registers(tmp_path: Path) -> None:
    secret = tmp_path / "nonce"
    secret.write_text("swordfish\n")
    async with new_node(tmp_path / "nats", nonce=str(secret)) as node:
        file = tmp_path / "config.yaml"
        file.write_text(
            f"service: {{name: shop, entrypoint: '{node.address}'}}\ndraft: {{drain: 0}}"
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DRAFT_NONCE_FILE", str(secret))
            app: Chassis[Any] = Chassis(config=file)
        app.add_servicer(Echo())
        async with running(app):
            await registered(node)


async def test_a_change_of_health_is_told_at_once_and_not_with_the_next_beat(
    node: blueprint.Node,
) -> None:
    async with running(make(node.address, beat=1000)) as service:
        assert (await registered(node)).health_state == models.PROCESS_HEALTHY
        for healthy, wanted in ((False, "UNHEALTHY"), (True, "HEALTHY")):
            await service.app.set_healthy(healthy)
            await until_answered(lambda state=f"PROCESS_{wanted}": _is(node, state))  # type: ignore[misc]


async def test_a_service_that_starts_unhealthy_registers_as_such(node: blueprint.Node) -> None:
    app = make(node.address)
    app.on_start(lambda: app.set_healthy(False))
    async with running(app):
        assert (await registered(node)).health_state == models.PROCESS_UNHEALTHY


async def serves(service: Running) -> bool:
    answer = await service.stub(HealthStub).Check(HealthCheckRequest(), timeout=10)
    return bool(answer.status == HealthCheckResponse.SERVING)


async def test_it_says_that_it_serves_once_the_registry_can_send_callers(
    node: blueprint.Node, link: Relay
) -> None:
    """Who waits for that may take away another one, which callers have until then."""
    await link.cut()
    async with running(make(link.address)) as service:
        assert not await serves(service)
        await link.listen()
        await until_answered(lambda: serves(service))
        (process,) = await processes(node)
        assert process.health_state == models.PROCESS_HEALTHY


async def test_without_a_registry_it_says_in_the_end_that_it_serves_who_knows_its_address(
    link: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.app._FOUND", 0.1)
    await link.cut()
    async with running(make(link.address)) as service:
        await until_answered(lambda: serves(service))


async def test_at_its_end_it_is_unhealthy_first_and_then_gone(node: blueprint.Node) -> None:
    seen: list[str] = []
    app = make(node.address, drain=0.3, beat=1000)

    async def watch() -> None:
        request = discovery.WatchRequest(filter=discovery.Filter(name="shop"))
        async for change in node.registry.Watch(request):
            gone = change.kind == discovery.WatchResponse.KIND_DELETE
            state = models.ProcessHealthState.Name(change.process.health_state)
            seen.append("gone" if gone else state)

    watching = asyncio.create_task(watch())
    async with running(app):
        await until(lambda: "PROCESS_HEALTHY" in seen)
    await until(lambda: "gone" in seen)
    watching.cancel()
    assert seen[seen.index("PROCESS_HEALTHY") :] == ["PROCESS_HEALTHY", "PROCESS_UNHEALTHY", "gone"]


async def test_it_serves_until_nobody_calls_any_more_however_long_the_word_takes(
    node: blueprint.Node,
) -> None:
    async def call(address: str) -> float:
        async with connect(address) as channel:
            stub: Any = echo_rpc.EchoServiceStub(channel)
            while time.monotonic() < began + 2.5:
                await stub.Speak(echo.SpeakRequest(input="hi"), timeout=10)
        return time.monotonic()

    async with running(make(node.address, drain=1)) as service:
        await registered(node)
        began = time.monotonic()
        calling = asyncio.create_task(call(str(service.address)))
    assert time.monotonic() >= await calling


async def test_a_restart_under_the_same_instance_replaces_the_entry(node: blueprint.Node) -> None:
    async with running(make(node.address, instance="shop-1")):
        first = await registered(node)
        async with running(make(node.address, instance="shop-1")) as second:

            async def replaced() -> bool:
                [only] = await processes(node) or [first]
                return only.ip_address == str(second.address)

            await until_answered(replaced)


async def test_calls_follow_the_registry(node: blueprint.Node) -> None:
    async with running(make_asking(node.address)) as service:
        first = asyncio.create_task(speak(service))  # before there is anybody
        async with running(make(node.address, says="one")) as one:
            assert await first == "one"
            async with running(make(node.address, says="two")):

                async def both() -> bool:
                    return {await speak(service) for _ in range(4)} == {"one", "two"}

                await until_answered(both)
                await one.app.set_healthy(False)

                async def only_two() -> bool:
                    return {await speak(service) for _ in range(4)} == {"two"}

                await until_answered(only_two)


async def test_calls_go_on_while_blueprint_is_away(node: blueprint.Node, link: Relay) -> None:
    async with (
        running(make(node.address, says="one")),
        running(make_asking(link.address)) as service,
    ):
        assert await speak(service) == "one"
        await link.cut()
        assert await speak(service) == "one"


async def descriptors(node: blueprint.Node) -> FileDescriptorSet:
    """Of the echo service, as Blueprint has them; waits for them."""
    kind = blueprint.packed(FileDescriptorSet())

    async def found() -> FileDescriptorSet | None:
        try:
            answer = await node.keys.Get(keys.GetRequest(key=ECHO, value=kind), timeout=10)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None
        files = FileDescriptorSet()
        answer.value.Unpack(files)
        return files

    found_files = await until_answered(found)
    assert found_files is not None
    return found_files


async def _process(address: str) -> models.Process:
    """The healthy "shop" that a Blueprint process knows; waits for both."""

    async def found() -> models.Process | None:
        filter_ = discovery.Filter(name="shop", health_state=models.PROCESS_HEALTHY)
        async with connect(address) as channel:
            stub: Any = discovery_rpc.ServiceDiscoveryServiceStub(channel)
            with contextlib.suppress(grpc.aio.AioRpcError):
                answer = await stub.Query(discovery.QueryRequest(filter=filter_), timeout=1)
                return next(iter(answer.data.values()), None)
        return None

    process = await until_answered(found, within=30)
    assert process is not None
    return process


async def _is(node: blueprint.Node, state: str) -> bool:
    [process] = await processes(node)
    return models.ProcessHealthState.Name(process.health_state) == state
