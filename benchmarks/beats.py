"""Very many processes that show signs of life to one Blueprint on one core.

`python -m benchmarks.beats ADDRESS COUNT SECONDS` is the processes, all of them in one.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
from draft_api.core.registry.service_discovery.v1 import models_pb2 as models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as pb
from draft_api.core.registry.service_discovery.v1.service_pb2_grpc import (
    ServiceDiscoveryServiceStub,
)

from benchmarks.figures import Figure, cpu_seconds
from chassis.clients import OPTIONS
from tests.support.nats import free_port, running_nats
from tests.support.services import Service, running_blueprint

COUNTS = (1_000, 3_000, 10_000)
BEAT = 5.0
_SETTLED = 10.0  # seconds after the last one has joined
_SECONDS = 30.0  # over which is counted
_CHANNELS = 20
_JOINING = 50  # at a time
_SYNCHRONIZE = "/core.registry.service_discovery.v1.ServiceDiscoveryService/Synchronize"


def of_beats(runs: int) -> list[Figure]:
    """The growth curve. Blueprint is bound to the first core, all else to the others."""
    figures, shares = [], []
    for count in COUNTS:
        with (
            tempfile.TemporaryDirectory(prefix="draft-bench-") as folder,
            running_nats(Path(folder) / "nats") as nats,
            running_blueprint(
                Path(folder), nats.url, DRAFT_DRAFT_METRICS_PORT=str(free_port())
            ) as blueprint,
        ):
            cores = psutil.Process().cpu_affinity() or [0]
            psutil.Process(blueprint.pid).cpu_affinity(cores[:1])
            before = psutil.Process(blueprint.pid).memory_info().rss
            told = _run(blueprint, count, cores[1:])
            shares.append(told.share)
            what = f"{count:,} processes that beat every {BEAT:g} s, one Blueprint on one core"
            grown = (told.resident - before) / count / 1024
            figures += [
                Figure(f"{what}: CPU", told.share * 100, "%", 100.0),
                Figure(f"{what}: CPU of the engine", told.engine * 100, "%"),
                Figure(f"{what}: memory of each", grown, "KB"),
                Figure(f"{what}: joined", told.joined, "/s"),
                Figure(f"{what}: answer to a beat, p50", told.p50 * 1000, "ms"),
                Figure(f"{what}: answer to a beat, p99", told.p99 * 1000, "ms"),
                Figure(f"{what}: beats shown of those wanted", told.shown * 100, "%"),
                Figure(f"{what}: beats without an answer in {BEAT:g} s", told.missed, "", 1.0),
                Figure(f"{what}: found silent", told.silent, "", 1.0),
            ]
    times = COUNTS[2] / COUNTS[0]
    name = f"growth of CPU from {COUNTS[0]:,} to {COUNTS[2]:,} processes, over their number"
    return [*figures, Figure(name, shares[2] / shares[0] / times, "x", 1.2)]


@dataclass
class Told:
    """What was seen over the time that counts."""

    joined: float = 0.0
    p50: float = 0.0
    p99: float = 0.0
    missed: int = 0
    shown: float = 0.0
    share: float = 0.0
    engine: float = 0.0
    resident: int = 0
    silent: float = 0.0


def _run(blueprint: Service, count: int, cores: list[int]) -> Told:
    command = [sys.executable, "-m", "benchmarks.beats", blueprint.address, str(count)]
    with subprocess.Popen([*command, str(_SECONDS)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        if cores:
            psutil.Process(child.pid).cpu_affinity(cores)
        engine = next(
            each for each in psutil.Process().children() if each.name().startswith("nats-server")
        )
        assert child.stdout.readline() == "counting\n"
        began = time.monotonic()
        spent, engines = cpu_seconds(blueprint.pid), cpu_seconds(engine.pid)
        answer = child.stdout.readline()
        took = time.monotonic() - began
        told = Told(**json.loads(answer))
        told.share = (cpu_seconds(blueprint.pid) - spent) / took
        told.engine = (cpu_seconds(engine.pid) - engines) / took
        told.resident = psutil.Process(blueprint.pid).memory_info().rss
        told.silent = _silent(blueprint)
        child.kill()
    return told


def _silent(blueprint: Service) -> float:
    """How many were taken for silent so far."""
    url = f"http://127.0.0.1:{blueprint.env['DRAFT_DRAFT_METRICS_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('draft_blueprint_leases_expired_total{verdict="silent"}'):
                return float(line.rpartition(" ")[2])
    raise AssertionError("Blueprint does not tell it")


@dataclass
class Beater:
    """All the processes."""

    address: str
    count: int
    waits: list[float] = field(default_factory=list)
    missed: int = 0
    joined: int = 0
    counting: bool = False

    async def run(self, seconds: float) -> Told:
        channels = [
            grpc.aio.insecure_channel(
                self.address, options=[*OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(_CHANNELS)
        ]
        joining = asyncio.Semaphore(_JOINING)
        began = time.monotonic()
        tasks = [
            asyncio.create_task(self._live(channels[n % _CHANNELS], n, joining))
            for n in range(self.count)
        ]
        while self.joined < self.count:
            await asyncio.sleep(0.05)
            for task in tasks:
                if task.done():
                    task.result()
        rate = self.count / (time.monotonic() - began)
        await asyncio.sleep(_SETTLED)
        self.counting = True
        print("counting", flush=True)
        await asyncio.sleep(seconds)
        self.counting = False
        waits = sorted(self.waits)
        shown = len(waits) / (self.count * seconds / BEAT)
        p50, p99 = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
        return Told(rate, p50, p99, self.missed, shown)

    async def _live(
        self, channel: grpc.aio.Channel, number: int, joining: asyncio.Semaphore
    ) -> None:
        stub: Any = ServiceDiscoveryServiceStub(channel)
        # As bytes, for the one who asks shares a core with the engine.
        synchronize = channel.stream_stream(_SYNCHRONIZE)
        async with joining:
            request = pb.InitializeRequest(
                name=f"service-{number % 100}",
                metadata=[models.Metadata(key="draft.instance", value=f"i-{number}")],
            )
            identity = (await stub.Initialize(request, timeout=60)).process_identity
            beat = pb.ClientDetails(
                pid=identity.pid,
                token=identity.token.jwt,
                running_state=models.PROCESS_RUNNING,
                health_state=models.PROCESS_HEALTHY,
                process_kind=models.SERVER_PROCESS,
                advertise_address=f"127.0.0.1:{number}",
            ).SerializeToString()
            stream = synchronize()
            await self._beat(stream, beat)
        self.joined += 1
        await asyncio.sleep(random.uniform(0, BEAT))
        while True:
            wait = await self._beat(stream, beat)
            await asyncio.sleep(max(BEAT - wait, 0.0))

    async def _beat(self, stream: Any, beat: bytes) -> float:
        began = time.monotonic()
        await stream.write(beat)
        await stream.read()
        wait = time.monotonic() - began
        if self.counting:
            self.waits.append(wait)
            self.missed += wait > BEAT
        return wait


async def _beat(address: str, count: int, seconds: float) -> None:
    told = await Beater(address, count).run(seconds)
    print(json.dumps(asdict(told)), flush=True)
    sys.stdin.readline()  # go on until we are ended


if __name__ == "__main__":
    asyncio.run(_beat(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
