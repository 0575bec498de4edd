"""Chassis: what is declared is opened in order, and closed in reverse whatever happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as rpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

import chassis
from chassis import Chassis, ChassisError
from chassis.errors import BindError, ConfigError
from chassis.testing import Running, running, settings
from tests.support.waiting import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Echo(rpc.EchoServiceServicer):
    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        return echo.SpeakResponse(output=request.input)


class Asking(rpc.EchoServiceServicer):
    """Asks "echo" for the answer, over a client that is made in the call."""

    def __init__(self, app: Chassis[Any]) -> None:
        self.app = app

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        other: Any = self.app.client(rpc.EchoServiceStub, "echo")
        answer = await other.Speak(request, timeout=10)
        return echo.SpeakResponse(output=f"echo says {answer.output}")


class Order:
    """Hooks that note when they run."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def hook(
        self, name: str, *, fails: bool = False, hangs: bool = False
    ) -> Callable[[], Awaitable[None]]:
        async def hook() -> None:
            self.seen.append(name)
            if fails:
                raise ValueError(f"{name} is broken")
            if hangs:
                await asyncio.Event().wait()

        return hook


def make(name: str = "shop", *servicers: object, **config: Any) -> Chassis[Any]:
    app = Chassis(config=settings(name, **config))
    for servicer in servicers or (Echo(),):
        app.add_servicer(servicer)
    return app


async def speak(service: Running, text: str = "hi") -> str:
    stub: Any = service.stub(rpc.EchoServiceStub)
    return str((await stub.Speak(echo.SpeakRequest(input=text), timeout=10)).output)


async def health(service: Running) -> int:
    stub = health_pb2_grpc.HealthStub(service.channel)  # type: ignore[no-untyped-call]
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    return int(answer.status)


def test_the_public_names_are_these() -> None:
    assert chassis.__all__ == ["Chassis", "ChassisError"]
    assert all(getattr(chassis, name) for name in chassis.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Chasis'"):
        _ = chassis.Chasis


async def test_a_service_serves_without_a_cluster() -> None:
    async with running(make()) as service:
        assert await speak(service) == "hi"
        assert await health(service) == SERVING


async def test_hooks_run_in_order_and_end_in_reverse() -> None:
    order, app = Order(), make()
    for name in ("one", "two"):
        app.on_start(order.hook(f"start {name}"))
        app.on_stop(order.hook(f"stop {name}"))
    async with running(app):
        order.seen.append("serving")
    assert order.seen == ["start one", "start two", "serving", "stop two", "stop one"]


async def test_a_start_that_fails_half_way_closes_what_was_opened() -> None:
    order, app = Order(), make()
    app.on_start(order.hook("start one"))
    app.on_start(order.hook("start two", fails=True))
    app.on_start(order.hook("start three"))
    app.on_stop(order.hook("stop one"))
    app.on_stop(order.hook("stop two"))
    with pytest.raises(ValueError, match="start two is broken"):
        async with running(app):
            pytest.fail("it must not serve")
    assert order.seen == ["start one", "start two", "stop two", "stop one"]


async def test_a_port_that_is_taken_ends_the_start_and_closes() -> None:
    order = Order()
    async with running(make()) as first:
        app = Chassis(
            config={
                **settings("second"),
                "service": {"network": {"bind_port": first.address.port}},
            }
        )
        app.on_stop(order.hook("stop"))
        with pytest.raises(BindError, match="it is taken"):
            async with running(app):
                pytest.fail("it must not serve")
    assert order.seen == ["stop"]


async def test_a_hook_that_fails_does_not_keep_the_rest_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    order, app = Order(), make()
    app.on_stop(order.hook("one"))
    app.on_stop(order.hook("two", fails=True))
    async with running(app):
        pass
    assert order.seen == ["two", "one"]
    assert "on_stop Order.hook.<locals>.hook failed to end" in caplog.text


async def test_a_hook_that_hangs_does_not_keep_the_rest_open(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.app._HOOK", 0.05)
    order, app = Order(), make()
    app.on_stop(order.hook("one"))
    app.on_stop(order.hook("two", hangs=True))
    async with running(app):
        pass
    assert order.seen == ["two", "one"]
    assert "did not end within 0.1 s" in caplog.text


async def test_a_cancelled_service_is_closed_all_the_same() -> None:
    order, app = Order(), make()
    app.on_stop(order.hook("stop"))

    async def serve() -> None:
        async with running(app):
            order.seen.append("serving")
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await until(lambda: order.seen)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert order.seen == ["serving", "stop"]


async def test_a_service_that_is_cancelled_while_it_starts_is_closed() -> None:
    order, app = Order(), make()
    app.on_start(order.hook("start", hangs=True))
    app.on_stop(order.hook("stop"))
    task = asyncio.create_task(running(app).__aenter__())
    await until(lambda: order.seen)
    task.cancel()
    await asyncio.wait([task])
    assert order.seen == ["start", "stop"]


async def test_a_runner_is_told_to_stop_before_it_is_cancelled() -> None:
    order, app = Order(), make()

    @app.runner
    async def sweep(stop: asyncio.Event) -> None:
        await stop.wait()
        order.seen.append("swept")

    async with running(app):
        pass
    assert order.seen == ["swept"]


async def test_a_runner_that_ignores_both_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.lifecycle.STOPPING", 0.05)
    app, leave = make(), asyncio.Event()

    @app.runner
    async def deaf(stop: asyncio.Event) -> None:
        while not leave.is_set():
            try:
                await leave.wait()
            except asyncio.CancelledError:
                order.seen.append("cancelled")

    order = Order()
    app.on_stop(order.hook("stop"))
    async with running(app):
        pass
    assert order.seen[:2] == ["cancelled", "stop"]
    assert "deaf did not end when it was cancelled" in caplog.text
    leave.set()


async def _fails(stop: asyncio.Event) -> None:
    raise ValueError("no more disk")


async def _cancels_itself(stop: asyncio.Event) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("runner", "why"),
    [(_fails, "no more disk"), (_cancels_itself, "it was cancelled from inside")],
)
async def test_a_runner_that_fails_is_the_services_failure(
    runner: Callable[[asyncio.Event], Awaitable[None]],
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make()
    app.runner(runner)
    with pytest.raises(ChassisError, match=f"runner {runner.__qualname__} failed: {why}"):
        async with running(app):
            await until(lambda: "failed" in caplog.text)


async def test_a_runner_may_be_done_before_the_service_is() -> None:
    app, done = make(), asyncio.Event()

    @app.runner
    async def once(stop: asyncio.Event) -> None:
        done.set()

    async with running(app) as service:
        await done.wait()
        assert await speak(service) == "hi"


async def test_what_is_unhealthy_says_so_and_still_answers() -> None:
    async with running(make()) as service:
        await service.app.set_healthy(False)
        assert await health(service) == NOT_SERVING
        assert await speak(service) == "hi"
        await service.app.set_healthy(True)
        assert await health(service) == SERVING


async def test_a_service_may_start_unhealthy() -> None:
    app = make()
    app.on_start(lambda: app.set_healthy(False))
    async with running(app) as service:
        assert await health(service) == NOT_SERVING


async def test_a_client_made_in_a_handler_finds_its_service() -> None:
    app = Chassis(config=settings("asking"))
    app.add_servicer(Asking(app))
    async with (
        running(make("echo")) as other,
        running(app, services={"echo": str(other.address)}) as service,
    ):
        assert await speak(service) == "echo says hi"


async def test_a_client_without_a_cluster_is_told_what_is_missing() -> None:
    app = make()
    app.client(rpc.EchoServiceStub, "echo")
    with pytest.raises(ChassisError, match=r"service\.entrypoint is not set"):
        async with running(app):
            pytest.fail("it must not serve")


async def test_an_app_may_serve_again() -> None:
    app = Chassis(config=settings("asking"))
    app.add_servicer(Asking(app))
    async with running(make("echo")) as other:
        for _ in range(2):
            async with running(app, services={"echo": str(other.address)}) as service:
                assert await speak(service) == "echo says hi"


def test_an_app_may_serve_again_in_another_loop() -> None:
    app = Chassis(config=settings("asking"))
    app.add_servicer(Asking(app))

    async def once() -> str:
        async with (
            running(make("echo")) as other,
            running(app, services={"echo": str(other.address)}) as service,
        ):
            return await speak(service)

    assert [asyncio.run(once()) for _ in range(2)] == ["echo says hi"] * 2


def test_blueprint_outside_of_a_loop_says_where_to_ask_for_it() -> None:
    app = make(blueprint="127.0.0.1:1")
    with pytest.raises(ChassisError, match="call it in a hook, a runner or a handler"):
        app.blueprint()


async def test_blueprint_without_an_entrypoint_says_what_is_not_set() -> None:
    with pytest.raises(ChassisError, match=r"service\.entrypoint is not set"):
        make().blueprint()


async def test_a_hook_at_the_end_can_still_ask_blueprint() -> None:
    app, states = make(blueprint="127.0.0.1:1"), []

    @app.on_stop
    async def farewell() -> None:
        states.append(app.blueprint().get_state())

    async with running(app):
        pass
    assert states
    assert grpc.ChannelConnectivity.SHUTDOWN not in states


def test_what_is_no_servicer_is_refused_where_it_is_added() -> None:
    with pytest.raises(ChassisError, match="Order is no servicer"):
        make("shop", Order())


def test_a_wrong_mapping_raises_for_a_test_to_see() -> None:
    with pytest.raises(ConfigError, match=r'greting: unknown key "greting"'):
        make(greting="hello")


async def test_the_address_is_known_once_it_serves() -> None:
    app = make()
    assert app.address.port == 0
    async with running(app) as service:
        assert service.address.port > 0


async def test_what_is_advertised_is_told_and_what_is_bound_is_served() -> None:
    config = settings("shop")
    config["service"]["network"]["internal"] = {"host": "shop.example.com", "port": 443}
    app = Chassis(config=config)
    async with app.serving():
        assert str(app.address) == "shop.example.com:443"


def test_logging_is_left_alone_until_it_runs() -> None:
    before = list(logging.getLogger().handlers)
    make()
    assert logging.getLogger().handlers == before
