"""A Fuse node inside the test's own loop, on a real Blueprint, behind the chassis's gRPC server.

The rest of the chassis is left out: a node starts in milliseconds, its settings are the test's.
`crash` drops everything at once, as SIGKILL would.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as networking_grpc
from draft_services.fuse.service import Fuse
from draft_services.fuse.settings import Settings

from chassis.clients import Address, connect
from chassis.server import make_server
from tests.support.envoy import free_port
from tests.support.services import Service, running_service


class Node:
    """One Fuse. It keeps its port over restarts."""

    def __init__(self, blueprint: str, listen: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = Settings(listen=f"127.0.0.1:{listen}")
        self._blueprint = blueprint
        self._open = contextlib.AsyncExitStack()
        self.routes: networking_grpc.NetworkingServiceAsyncStub
        self.has_descriptors: Callable[[str], bool]  # a watch of its own, beside that of routes

    async def start(self) -> None:
        """Serve, on the same port as before."""
        open_ = self._open = contextlib.AsyncExitStack()
        blueprint = await open_.enter_async_context(connect(self._blueprint))
        fuse = Fuse(self._settings, blueprint=lambda: blueprint, url=lambda: self.url)
        address = Address("127.0.0.1", self.port)
        server = make_server([fuse.servicer], address, handlers=[fuse.xds])
        await server.start()
        open_.push_async_callback(server.stop, 0)
        self.has_descriptors = fuse._mirror._descriptors.__contains__
        running = asyncio.create_task(fuse.run(asyncio.Event()))
        open_.push_async_callback(_ended, running)
        # A fresh pool of connections: one of before a restart would wait out its back-off.
        channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{self.port}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        await open_.enter_async_context(channel)
        self.routes = networking_grpc.NetworkingServiceStub(channel)  # type: ignore[assignment]

    async def crash(self) -> None:
        """Drop it without a word to anyone."""
        await self._open.aclose()


@contextlib.asynccontextmanager
async def fuse_node(blueprint: str, listen: int) -> AsyncIterator[Node]:
    """A node that serves, on a Blueprint's address; its proxies listen at a port of loopback."""
    node = Node(blueprint, listen)
    try:
        await node.start()
        yield node
    finally:
        await node.crash()


@contextlib.contextmanager
def fuse_process(folder: Path, blueprint: str, listen: int, **env: str) -> Iterator[Service]:
    """`python -m draft_services.fuse`, stopped whatever happens."""
    with running_service(
        "fuse",
        folder,
        DRAFT_SERVICE_ENTRYPOINT=blueprint,
        DRAFT_FUSE_LISTEN=f"127.0.0.1:{listen}",
        **env,
    ) as process:
        yield process


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
