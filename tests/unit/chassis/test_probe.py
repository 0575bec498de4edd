"""`python -m chassis.probe`: an exit code for engines that ask by commands."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from chassis import Chassis
from chassis.testing import running, settings


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chassis.probe", *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@pytest.fixture
def web() -> Iterator[str]:
    """host:port of a server that has /well and nothing else."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/well" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_service_that_serves_is_well_and_one_that_ended_is_not() -> None:
    import asyncio

    async def asked() -> str:
        async with running(Chassis(config=settings("echo"))) as service:
            done = await asyncio.to_thread(probe, "grpc", str(service.address))
            assert (done.returncode, done.stderr) == (0, "")
            return str(service.address)

    address = asyncio.run(asked())
    done = probe("grpc", address)
    assert done.returncode == 1
    assert address in done.stderr


def test_http_is_well_by_its_status_and_tcp_by_a_connection(web: str) -> None:
    assert probe("http", f"http://{web}/well").returncode == 0
    assert probe("http", f"http://{web}/ill").returncode == 1
    assert probe("tcp", web).returncode == 0
    assert probe("tcp", "127.0.0.1:1").returncode == 1


def test_it_says_how_it_is_asked() -> None:
    done = probe("ping", "127.0.0.1:1")
    assert done.returncode == 1
    assert "grpc, http or tcp" in done.stderr
    assert "chassis.probe grpc" in probe().stderr
