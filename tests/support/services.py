"""A core service as what it is in production: a child process, killed and restarted at will."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.nats import free_port

ROOT = Path(__file__).resolve().parents[2]


class Service:
    """`python -m draft_services.<name>` on a free port; `address` stays over restarts."""

    def __init__(self, name: str, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.log_file = folder / f"{name}-{self.port}.log"
        self.env = {
            **os.environ,
            "DRAFT_SERVICE_NETWORK_BIND_PORT": str(self.port),
            "DRAFT_INSTANCE": f"{name}-{self.port}",
            **env,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The child's process id."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self, *, ready: bool = True) -> None:
        """Start it; with `ready` return once its health says SERVING."""
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"draft_services.{self.name}"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if ready:
            self.wait_ready()

    def wait_ready(self, within: float = 20.0) -> None:
        """Return once its health says SERVING; fails with its log when it ends or takes longer."""
        deadline = time.monotonic() + within
        while not self.serving():
            ended = self._process.poll() if self._process else 0
            assert ended is None, f"{self.name} ended with {ended}:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready:\n{self.log()}"
            time.sleep(0.02)

    def serving(self) -> bool:
        """Whether its health says SERVING now."""
        return serving(self.address)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as an orderly stop; returns the exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        os.kill(self.pid, number)

    def restart(self) -> None:
        """Kill it and bring it back on the same port."""
        self.kill()
        self.start()

    def log(self) -> str:
        """What it printed so far."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            return process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{self.name} does not end on {how.name}:\n{self.log()}") from None


def serving(address: str) -> bool:
    """Whether the health of what is there says SERVING now."""
    # A channel of its own: one that has failed waits longer and longer to connect again.
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=1
            )
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@contextlib.contextmanager
def running_service(
    name: str, folder: Path, *, ready: bool = True, **env: str
) -> Iterator[Service]:
    """A started core service, stopped whatever happens; `env` is DRAFT_... of it."""
    service = Service(name, folder, env)
    with _run(service, ready):
        yield service


@contextlib.contextmanager
def running_blueprint(
    folder: Path, nats: str, *, ready: bool = True, **env: str
) -> Iterator[Service]:
    """Blueprint on the engine at `nats`, registered with itself."""
    service = Service("blueprint", folder, {"DRAFT_BLUEPRINT_NATS": nats, **env})
    service.env["DRAFT_SERVICE_ENTRYPOINT"] = service.address
    with _run(service, ready):
        yield service


@contextlib.contextmanager
def _run(service: Service, ready: bool) -> Iterator[None]:
    try:
        service.start(ready=ready)
        yield
    finally:
        service.kill()
