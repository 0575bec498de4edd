"""Catalyst as a process of its own, to be killed and started again on the same port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.nats import free_port


class CatalystProcess:
    """`python -m draft_services.catalyst`, without a registry."""

    def __init__(self, folder: Path, nats: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._folder = folder
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("DRAFT_")},
            "DRAFT_SERVICE_NETWORK_BIND_PORT": self.address.rpartition(":")[2],
            "DRAFT_CATALYST_NATS": nats,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; `serving` tells when it is there."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "catalyst.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "draft_services.catalyst"],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    async def serving(self, within: float = 30.0) -> None:
        """Returns once health says SERVING."""
        async with asyncio.timeout(within):
            while await self.health() is not health_pb2.HealthCheckResponse.SERVING:
                assert self._running().poll() is None, self.log()
                await asyncio.sleep(0.05)

    async def health(self) -> int | None:
        """What health says; None while nothing listens."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            try:
                answer = await health_pb2_grpc.HealthStub(channel).Check(
                    health_pb2.HealthCheckRequest(), timeout=2
                )
            except grpc.aio.AioRpcError:
                return None
        return int(answer.status)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, as an orderly stop; returns the exit status."""
        return self._end(signal.SIGTERM)

    def statistics(self) -> psutil.Process:
        """Its memory and time."""
        return psutil.Process(self._running().pid)

    def log(self) -> str:
        """What it printed so far."""
        return (self._folder / "catalyst.log").read_text(errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _end(self, how: signal.Signals) -> int:
        process = self._running()
        process.send_signal(how)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@contextlib.contextmanager
def catalyst_process(folder: Path, nats: str) -> Iterator[CatalystProcess]:
    """A started process, killed whatever happens."""
    catalyst = CatalystProcess(folder, nats)
    catalyst.start()
    try:
        yield catalyst
    finally:
        catalyst.kill()
