"""One probe each: ok, or why not in one sentence."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chassis.health import WHY
from dctl.hosts import ports
from dctl.hosts.base import Check, Endpoint
from dctl.hosts.checks import probe
from dctl.hosts.process.survivors import identity
from tests.support.waiting import wait_until


@contextmanager
def listening() -> Iterator[str]:
    """Somebody who accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def nobody() -> str:
    return f"127.0.0.1:{ports.free('127.0.0.1')}"


@contextmanager
def grpc_server(
    status: object | None, servicer: health.HealthServicer | None = None
) -> Iterator[str]:
    """A gRPC server; None: without the health service."""
    server = grpc.server(ThreadPoolExecutor(2))
    if status is not None:
        servicer = servicer or health.HealthServicer()
        servicer.set("", status)  # type: ignore[arg-type]
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def http_server(status: int, body: bytes = b"") -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz?deep=1" else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/healthz?deep=1"
        finally:
            server.shutdown()


def test_tcp() -> None:
    with listening() as address:
        assert probe(Check("tcp", address)).ok
    free = nobody()
    assert probe(Check("tcp", free)).reason == f"{free} refused the connection"


def test_http_by_status() -> None:
    with http_server(204) as url:
        assert probe(Check("http", url)).ok
    with http_server(503) as url:
        assert probe(Check("http", url)).reason == f"{url} answers 503 Service Unavailable"
    url = f"http://{nobody()}/"
    assert probe(Check("http", url)).reason == f"{url} refused the connection"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"status": "unavailable", "error": "no space\\nleft"}', ": no space left"),
        (b'{"error": {"code": 1}}', ""),
        (b"[]", ""),
        (b"<h1>503</h1>", ""),
        (b"\xff", ""),
    ],
)
def test_http_tells_why_where_the_answer_says_so(body: bytes, why: str) -> None:
    with http_server(503, body) as url:
        assert probe(Check("http", url)).reason == f"{url} answers 503 Service Unavailable{why}"


def test_http_that_does_not_answer_in_time() -> None:
    with listening() as address:
        answer = probe(Check("http", f"http://{address}", timeout=0.1))
    assert answer.reason == f"http://{address} did not answer within 0.1s"


def test_grpc_by_health() -> None:
    with grpc_server(health_pb2.HealthCheckResponse.SERVING) as address:
        assert probe(Check("grpc", address, timeout=10)).ok
    with grpc_server(health_pb2.HealthCheckResponse.NOT_SERVING) as address:
        assert probe(Check("grpc", address, timeout=10)).reason == f"{address} answers NOT_SERVING"
    with grpc_server(None) as address:
        said = probe(Check("grpc", address, timeout=10)).reason
    assert said == f"{address} speaks gRPC but offers no health service"


def test_grpc_tells_why_where_the_service_says_so() -> None:
    class Saying(health.HealthServicer):
        def Check(self, request: object, context: grpc.ServicerContext) -> object:
            context.set_trailing_metadata(((WHY, b"the engine\nis away"),))
            return super().Check(request, context)

    with grpc_server(health_pb2.HealthCheckResponse.NOT_SERVING, Saying()) as address:
        said = probe(Check("grpc", address, timeout=10)).reason
    assert said == f"{address} answers NOT_SERVING: the engine is away"


def test_grpc_without_a_server() -> None:
    free = nobody()
    assert probe(Check("grpc", free)).reason == f"{free} refused the connection"
    with listening() as address:
        said = probe(Check("grpc", address, timeout=0.2)).reason
    assert said == f"{address} did not answer within 0.2s"


def test_a_failed_grpc_probe_does_not_slow_the_next_one_down() -> None:
    """grpc would remember the failure of a shared subchannel and wait before it tries again."""
    port = ports.free("127.0.0.1")
    check = Check("grpc", f"127.0.0.1:{port}", timeout=0.9)
    for _ in range(3):
        assert not probe(check).ok
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        assert probe(check).ok
    finally:
        server.stop(None).wait()


def test_exec_by_exit_status() -> None:
    assert probe(Check("exec", argv=("true",))).ok
    said = probe(Check("exec", argv=("sh", "-c", "echo first; echo no disk >&2; exit 3"))).reason
    assert said.endswith("ended with exit status 3: no disk")
    assert "cannot be run" in probe(Check("exec", argv=("no-such-program",))).reason


def test_exec_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"sleep 60 & echo $! > {note}; wait"
    said = probe(Check("exec", argv=("sh", "-c", code), timeout=0.5)).reason
    assert said.endswith("did not end within 0.5s")
    wait_until(lambda: identity(int(note.read_text())) == "")


def test_a_taken_port_has_an_owner_and_a_free_one_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        owner = ports.owner(Endpoint("127.0.0.1", port))
        assert owner is not None
        assert owner.pid == os.getpid()
        assert owner.name
        assert ports.owner(Endpoint("0.0.0.0", port)) == owner
    assert ports.owner(Endpoint("127.0.0.1", port)) is None


def test_an_address_of_another_machine_has_no_owner_here() -> None:
    assert ports.owner(Endpoint("192.0.2.1", 9000)) is None


def test_a_free_port_lies_below_those_of_outgoing_connections() -> None:
    assert 20_000 <= ports.free("127.0.0.1") < 32_768


def test_an_owner_that_may_not_be_seen_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    def denied(kind: str) -> list[object]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", denied)
    with socket.create_server(("127.0.0.1", 0)) as server:
        owner = ports.owner(Endpoint("127.0.0.1", server.getsockname()[1]))
    assert owner is not None
    assert owner.pid == 0
