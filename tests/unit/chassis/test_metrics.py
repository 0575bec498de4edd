"""Metrics and the log of slow requests: what a call leaves behind."""

from __future__ import annotations

import asyncio
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as keys_rpc
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_rpc
from prometheus_client import Counter
from prometheus_client.parser import text_string_to_metric_families

from chassis import Chassis
from chassis.errors import BindError, NotFound
from chassis.figures import Figure, Sizes
from chassis.slow import MOST, WINDOW, Ration
from chassis.testing import Running, running, settings
from tests.unit.chassis.test_server import Keys, failure, watch


class Slow(echo_rpc.EchoServiceServicer):
    """Takes as long as it is told to."""

    def about(self, request: echo.SpeakRequest) -> dict[str, str]:
        if request.input == "0.1 broken":
            raise ValueError("what is it about?")
        return {"name": "a name", "length": str(len(request.input))}

    async def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        seconds, _, how = request.input.partition(" ")
        await asyncio.sleep(float(seconds))
        match how:
            case "absent":
                raise NotFound("nobody by that name")
            case "abort":
                await context.abort(grpc.StatusCode.ABORTED, "try again")
            case "set":
                context.set_code(grpc.StatusCode.DATA_LOSS)
        return echo.SpeakResponse(output=request.input)


class InThreads(echo_rpc.EchoServiceServicer):
    def Speak(self, request: echo.SpeakRequest, context: Any) -> echo.SpeakResponse:
        match request.input:
            case "abort":
                context.abort(grpc.StatusCode.ABORTED, "try again")
            case "set":
                context.set_code(grpc.StatusCode.DATA_LOSS)
            case "peer":
                return echo.SpeakResponse(output=context.peer())
        return echo.SpeakResponse(output=request.input)


def make(*servicers: object, slow: float = 0, metrics: bool = True) -> Chassis[Any]:
    asked = settings("shop")
    draft = {**asked["draft"], "slow": slow, "metrics": {"port": 0} if metrics else {}}
    app = Chassis(config={**asked, "draft": draft})
    for servicer in servicers:
        app.add_servicer(servicer)
    return app


def get(app: Chassis[Any], path: str = "/metrics", method: str = "GET", **headers: str) -> Any:
    request = urllib.request.Request(f"http://{app._scraped}{path}", method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=5)


async def scraped(app: Chassis[Any]) -> dict[str, float]:
    """Every sample by its name and labels, as ``name{a=b}``; a method by its name alone."""

    def read() -> str:
        with get(app) as answer:
            return str(answer.read().decode())

    found = {}
    for family in text_string_to_metric_families(await asyncio.to_thread(read)):
        for sample in family.samples:
            names = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{names}}}"] = sample.value
    return found


def of(found: dict[str, float], name: str, **labels: str) -> float:
    """The sum of the samples of that name that have these labels."""
    wanted = [f"{key}={value}" for key, value in labels.items()]
    return sum(
        value
        for key, value in found.items()
        if key.startswith(name + "{") and all(each in key for each in wanted)
    )


async def speak(service: Running, text: str) -> Any:
    stub: Any = service.stub(echo_rpc.EchoServiceStub)
    return await stub.Speak(echo.SpeakRequest(input=text), timeout=10)


async def test_each_call_is_counted_by_its_method_and_code() -> None:
    app = make(Slow())
    async with running(app) as service:
        await speak(service, "0")
        await speak(service, "0")
        for how in ("absent", "abort", "set"):
            await failure(speak(service, f"0 {how}"))
        found = await scraped(app)
    labels = {"grpc_service": "examples.echo.v1.EchoService", "grpc_method": "Speak"}
    assert of(found, "grpc_server_started_total", **labels, grpc_type="unary") == 5
    codes = {"OK": 2, "NOT_FOUND": 1, "ABORTED": 1, "DATA_LOSS": 1}
    for code, count in codes.items():
        assert of(found, "grpc_server_handled_total", **labels, grpc_code=code) == count
    assert of(found, "grpc_server_handling_seconds_count", **labels) == 5
    assert of(found, "grpc_server_handling_seconds_bucket", **labels, le="+Inf") == 5
    assert of(found, "grpc_server_in_flight", **labels) == 0


async def test_the_code_of_a_plain_function_is_known_too() -> None:
    app = make(InThreads())
    async with running(app) as service:
        assert (await speak(service, "peer")).output.startswith("ipv4:127.0.0.1")
        await failure(speak(service, "abort"))
        await failure(speak(service, "set"))
        found = await scraped(app)
    for code in ("OK", "ABORTED", "DATA_LOSS"):
        assert of(found, "grpc_server_handled_total", grpc_method="Speak", grpc_code=code) == 1


async def test_an_open_stream_is_in_flight_and_has_no_duration() -> None:
    app = make(Keys())
    async with running(app) as service:
        stream = watch(service.channel)  # type: ignore[arg-type]
        await stream.read()
        found = await scraped(app)
        labels = {"grpc_method": "Watch", "grpc_type": "server_stream"}
        assert of(found, "grpc_server_in_flight", **labels) == 1
        stream.cancel()
        await asyncio.wait_for(app._servicers[0].closed.wait(), 10)  # type: ignore[attr-defined]
        found = await scraped(app)
    assert of(found, "grpc_server_handled_total", **labels, grpc_code="CANCELLED") == 1
    assert of(found, "grpc_server_in_flight", **labels) == 0
    assert of(found, "grpc_server_handling_seconds_count", **labels) == 0


async def test_a_service_tells_figures_of_its_own_and_of_the_library() -> None:
    app, sizes = make(Slow()), Sizes((1, 10))
    for size in (1, 5, 50):
        sizes.note(size)
    orders = Counter("test_shop_orders", "Orders.")
    orders.inc(3)

    @app.figures
    def own() -> Iterator[Figure]:
        yield Figure("shop_open", "Whether it is open.", 1)
        yield Figure("shop_visits_total", "Visits.", {"a": 2, "b": 3}, kind="counter", label="door")
        yield Figure("shop_baskets", "How full they are.", sizes)

    async with running(app):
        found = await scraped(app)
    assert found["shop_open{}"] == 1
    assert found["shop_visits_total{door=b}"] == 3
    assert found["shop_baskets_bucket{le=10}"] == 2
    assert found["shop_baskets_count{}"] == 3
    assert found["shop_baskets_sum{}"] == 56
    assert found["test_shop_orders_total{}"] == 3
    assert found["process_resident_memory_bytes{}"] > 1e6


async def test_a_figure_that_cannot_be_told_harms_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make(Slow())
    app.figures(lambda: [Figure("broken", "No number.", "x")])  # type: ignore[arg-type]
    async with running(app) as service:
        with pytest.raises(urllib.error.HTTPError, match="500"):
            await asyncio.to_thread(get, app)
        await speak(service, "0")
    assert "a figure cannot be told" in caplog.text


async def test_only_metrics_are_told_and_only_to_who_reads() -> None:
    app = make(Slow())
    async with running(app):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            await asyncio.to_thread(get, app, "/")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            await asyncio.to_thread(get, app, "/metrics", "POST")
        answer = await asyncio.to_thread(get, app, "/metrics", "HEAD")
        assert answer.read() == b""
        assert int(answer.headers["content-length"]) > 100
        reader, writer = await asyncio.open_connection(*app._scraped.split(":"))
        writer.write(b"\x16\x03\x01 no request at all\r\n\r\n")
        assert b"404" in await reader.readline()
        writer.close()


async def test_who_wants_no_metrics_has_no_port_for_them() -> None:
    app = make(Slow(), metrics=False)
    async with running(app) as service:
        await speak(service, "0")
        assert app._scraped == ""


async def test_a_port_that_is_taken_ends_the_start_with_words() -> None:
    async with running(make(Slow())) as first:
        port = int(first.app._scraped.partition(":")[2])
        asked = settings("second")
        config = {**asked, "draft": {**asked["draft"], "metrics": {"port": port}}}
        with pytest.raises(BindError, match=r"for metrics: .*; set draft\.metrics\.port"):
            async with running(Chassis(config=config)):
                pytest.fail("it must not serve")


async def test_a_slow_request_is_logged_once_with_who_asked_for_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(make(Slow(), slow=0.1)) as service:
        await speak(service, "0")
        await speak(service, "0.1")
        await failure(speak(service, "0.1 absent"))
    first, second = _slow(caplog)
    assert first.getMessage() == "slow: /examples.echo.v1.EchoService/Speak"
    assert first.levelno == logging.WARNING
    told = vars(first)
    assert told["peer"].startswith("ipv4:127.0.0.1:")
    assert (told["instance"], told["code"], told["length"]) == ("shop", "OK", "3")
    assert told["request_name"] == "a name", "a record's own name is not to be had"
    assert float(told["seconds"]) >= 0.1
    assert vars(second)["code"] == "NOT_FOUND"


async def test_a_request_that_cannot_say_what_it_is_about_is_logged_and_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(make(Slow(), slow=0.1)) as service:
        assert (await speak(service, "0.1 broken")).output == "0.1 broken"
    assert len(_slow(caplog)) == 1


async def test_a_stream_is_never_slow(caplog: pytest.LogCaptureFixture) -> None:
    class Streaming(keys_rpc.KeyValueServiceServicer):
        async def Watch(self, request: keys.WatchRequest, context: Any) -> Any:
            await asyncio.sleep(0.1)
            yield keys.WatchResponse(revision=1)

    async with running(make(Streaming(), slow=0.01)) as service:
        stream = watch(service.channel)  # type: ignore[arg-type]
        assert (await stream.read()).revision == 1
        assert await stream.read() is grpc.aio.EOF
    assert not _slow(caplog)


async def test_zero_logs_none(caplog: pytest.LogCaptureFixture) -> None:
    async with running(make(Slow(), slow=0)) as service:
        await speak(service, "0.1")
    assert not _slow(caplog)


def test_many_slow_requests_are_few_lines_that_say_how_many_there_were() -> None:
    ration = Ration()
    assert [ration.take(100 + n / 100) for n in range(MOST)] == [0] * MOST
    assert [ration.take(101.0) for _ in range(50)] == [None] * 50
    assert ration.take(100 + WINDOW) == 50
    assert ration.take(100 + WINDOW) == 0


def _slow(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith("slow: ")]
