"""What a service tells the cluster: its routes at a real Fuse and Envoy, its descriptors."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.key_value.v1 import models_pb2 as values
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as keys_rpc
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_rpc
from draft_services.blueprint.settings import Settings

from chassis import Chassis
from chassis.publishing import descriptors_of
from chassis.testing import running, settings
from tests.support import blueprint
from tests.support.envoy import free_port
from tests.support.fuse import fuse_node
from tests.support.ingress import Ingress, running_ingress
from tests.support.nats import running_nats
from tests.support.waiting import until, until_answered

ECHO = "examples.echo.v1.EchoService"
KEYS = "core.registry.key_value.v1.KeyValueService"


class Echo(echo_rpc.EchoServiceServicer):
    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        return echo.SpeakResponse(output=request.input)


class Keys(keys_rpc.KeyValueServiceServicer):
    """Answers with the key and what was in the Any."""

    async def Set(self, request: keys.SetRequest, context: Any) -> keys.SetResponse:
        value = values.Value()
        request.value.Unpack(value)
        return keys.SetResponse(key=f"{request.key}={value.data}")


@pytest.fixture
async def ingress(tmp_path: Path) -> AsyncIterator[Ingress]:
    async with running_ingress(tmp_path) as made:
        yield made


def make(entrypoint: str, servicer: object | None = None) -> Chassis[Any]:
    app = Chassis(config=settings("shop", blueprint=entrypoint))
    app.add_servicer(servicer or Echo())
    return app


async def routes(fuse: Any) -> dict[str, networking.Route]:
    answer = await fuse.routes.ListRoutes(networking.ListRoutesRequest(), timeout=10)
    return {route.name: route for route in answer.routes}


async def post(url: str, document: object) -> Any:
    """What a POST of JSON answers; None while it is refused."""

    def send() -> Any:
        data = json.dumps(document).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except OSError:
            return None

    return await asyncio.to_thread(send)


async def test_a_route_in_code_is_one_at_the_ingress_and_speaks_json(ingress: Ingress) -> None:
    app = make(ingress.blueprint.address)
    app.route(f"/{ECHO}/", timeout=2.5, retries=1)
    async with running(app):
        url = f"{ingress.url}/{ECHO}/Speak"
        assert await until_answered(lambda: post(url, {"input": "hi"})) == {"output": "hi"}
        route = (await routes(ingress.fuse))[f"shop/{ECHO}/"]
    assert (route.service, route.enable_http2, route.retries) == ("shop", True, 1)
    assert route.timeout.ToMilliseconds() == 2500


async def test_json_reaches_into_an_any_of_the_services_own_package(ingress: Ingress) -> None:
    app = make(ingress.blueprint.address, Keys())  # type: ignore[abstract]
    app.route(f"/{KEYS}/")
    packed = {"@type": "type.googleapis.com/core.registry.key_value.v1.Value", "data": "hello"}
    async with running(app):
        url = f"{ingress.url}/{KEYS}/Set"
        answer = await until_answered(lambda: post(url, {"key": "greeting", "value": packed}))
    assert answer["key"] == "greeting=hello"


async def test_a_refused_route_is_told_in_fuses_words_and_the_others_are_set(
    ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(ingress.blueprint.address)
    app.route("no-slash", name="broken")
    app.route(f"/{ECHO}/", name="good")
    async with running(app):
        await until_answered(lambda: has_route(ingress.fuse, "good"))
        assert "broken" not in await routes(ingress.fuse)
    [told] = [each for each in caplog.messages if "broken" in each]
    assert told.startswith("route broken was refused: INVALID_ARGUMENT: route.match.prefix:")


async def test_routes_wait_for_fuse_and_say_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with running_nats(tmp_path / "nats") as nats:
        async with blueprint.blueprint_node(Settings(nats=nats.url)) as node:
            app = make(node.address)
            app.route("/shop/", name="shop")
            async with running(app):
                waits = "route shop has to wait: Fuse is not there yet"
                await until(lambda: waits in caplog.text)
                async with fuse_node(node.address, free_port()) as fuse:
                    await until_answered(lambda: has_route(fuse, "shop"))
            assert caplog.text.count(waits) == 1


def test_descriptors_come_each_after_those_that_it_imports() -> None:
    known: set[str] = set()
    for file in descriptors_of(KEYS).file:
        assert set(file.dependency) <= known
        known.add(file.name)
    assert any(name.endswith("key_value/v1/models.proto") for name in known)


async def has_route(fuse: Any, name: str) -> bool:
    return name in await routes(fuse)
