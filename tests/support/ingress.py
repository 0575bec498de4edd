"""An ingress with everything real under it: nats-server, Blueprint, Fuse, Envoy; and backends."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from draft_api.core.control_plane.networking.v1 import service_pb2 as networking
from draft_api.core.registry.key_value.v1 import service_pb2 as keys
from draft_api.core.registry.service_discovery.v1 import service_pb2 as discovery
from draft_api.examples.echo.v1 import service_pb2 as echo
from draft_api.examples.echo.v1 import service_pb2_grpc as echo_grpc
from draft_services.blueprint.settings import Settings
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.support import blueprint, fuse
from tests.support.envoy import Envoy, free_port, running_envoy
from tests.support.nats import running_nats
from tests.support.waiting import until

ECHO = "examples.echo.v1.EchoService"


@dataclass
class Ingress:
    """The parts of a running ingress."""

    blueprint: blueprint.Node
    link: Link  # between Fuse and Blueprint
    fuse: fuse.Node
    envoy: Envoy

    @property
    def url(self) -> str:
        """Where callers knock."""
        return self.envoy.url

    @property
    def address(self) -> str:
        """The same for a gRPC channel."""
        return f"127.0.0.1:{self.envoy.listen}"

    async def add(self, route: networking.Route) -> None:
        """Add a route, or fail with what Fuse says."""
        await self.fuse.routes.AddRoute(networking.AddRouteRequest(route=route), timeout=20)

    async def store_descriptors(self, service: str, files: FileDescriptorSet) -> None:
        """What the chassis does for its services; returns when Fuse has heard of it."""
        await self.blueprint.keys.Set(
            keys.SetRequest(key=service, value=blueprint.packed(files)), timeout=5
        )
        await until(lambda: self.fuse.has_descriptors(service))


@contextlib.asynccontextmanager
async def running_ingress(folder: Path) -> AsyncIterator[Ingress]:
    """Everything started and the listener up; everything stopped afterwards."""
    listen = free_port()
    async with contextlib.AsyncExitStack() as stack:
        nats = stack.enter_context(running_nats(folder / "nats"))
        node = await stack.enter_async_context(
            blueprint.blueprint_node(Settings(nats=nats.url, silent=1.0, gone=3.0))
        )
        link = Link(node.address)
        await link.mend()
        stack.push_async_callback(link.cut)
        control = await stack.enter_async_context(fuse.fuse_node(link.address, listen))
        envoy = stack.enter_context(running_envoy(folder / "envoy", control.port, listen))
        await asyncio.to_thread(envoy.wait_listening)
        yield Ingress(node, link, control, envoy)


class Link:
    """A connection to somewhere that can be cut."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._target_port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"

    async def mend(self) -> None:
        """Let connections through."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """End what is connected and refuse what comes."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, onward = await asyncio.open_connection(self._host, self._target_port)
        await asyncio.gather(self._pump(reader, onward), self._pump(there, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # cut
        finally:
            self._writers.discard(writer)
            writer.close()


class _Echo(echo_grpc.EchoServiceServicer):
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def Speak(
        self, request: echo.SpeakRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> echo.SpeakResponse:
        self._backend.calls += 1
        self._backend.metadata = {k: str(v) for k, v in context.invocation_metadata() or ()}
        if request.input == "wait":
            await asyncio.sleep(30)
        return echo.SpeakResponse(output=request.input)


@dataclass
class Backend:
    """A gRPC echo server of a test, and what it was sent."""

    port: int = 0
    calls: int = 0
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> networking.Endpoint:
        """As a route names it."""
        return networking.Endpoint(host="127.0.0.1", port=self.port)


@contextlib.asynccontextmanager
async def grpc_backend() -> AsyncIterator[Backend]:
    """An echo server, stopped afterwards."""
    backend = Backend()
    server = grpc.aio.server()
    echo_grpc.add_EchoServiceServicer_to_server(_Echo(backend), server)
    backend.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield backend
    finally:
        await server.stop(0)


def echo_route(name: str = "echo", **fields: Any) -> networking.Route:
    """A gRPC route to the echo service."""
    match = networking.RouteMatch(prefix=f"/{ECHO}/")
    return networking.Route(name=name, match=match, enable_http2=True, **fields)


@contextlib.contextmanager
def http_backend(body: bytes = b"plain") -> Iterator[Backend]:
    """A plain HTTP server that answers POST with what it was sent and GET with `body`."""
    backend = Backend()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(body)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["content-length"])))

        def _answer(self, content: bytes) -> None:
            backend.calls += 1
            backend.metadata = {k.lower(): v for k, v in self.headers.items()}
            backend.metadata[":path"] = self.path
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    backend.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield backend
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Process:
    """A process in the registry, whose state a test sets."""

    def __init__(self, node: blueprint.Node, service: str, backend: Backend) -> None:
        self._node = node
        self._service = service
        self._address = f"127.0.0.1:{backend.port}"
        self._stream: Any = None
        self._identity: Any = None
        self._beating: asyncio.Task[None] | None = None
        self._state: dict[str, object] = {}

    async def report(self, **state: object) -> None:
        """Be in this state from now on; beats go on by themselves."""
        self._state = state
        if self._stream is None:
            answer = await self._node.registry.Initialize(
                discovery.InitializeRequest(name=self._service, nonce="any")
            )
            self._identity = answer.process_identity
            self._stream = self._node.registry.Synchronize()
            self._beating = asyncio.create_task(self._beat())
        await self._send()

    async def leave(self) -> None:
        """Finalize."""
        self.fall_silent()
        await self._node.registry.Finalize(
            discovery.FinalizeRequest(pid=self._identity.pid, token=self._identity.token.jwt)
        )

    def fall_silent(self) -> None:
        """Beat no more, as one that hangs or is cut off."""
        if self._beating is not None:
            self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            await self._send()

    async def _send(self) -> None:
        await self._stream.write(
            blueprint.details(self._identity, advertise_address=self._address, **self._state)
        )
        await self._stream.read()


@contextlib.asynccontextmanager
async def load(call: Callable[[], Awaitable[None]], callers: int = 4) -> AsyncIterator[Load]:
    """Callers that call all the time meanwhile; what they met is in the Load."""
    result = Load()
    stop = False

    async def caller() -> None:
        while not stop:
            try:
                await call()
                result.succeeded += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is counted
                result.failures.append(error)
            await asyncio.sleep(0.002)

    tasks = [asyncio.create_task(caller()) for _ in range(callers)]
    try:
        yield result
    finally:
        stop = True
        await asyncio.gather(*tasks)


async def eventually(condition: Callable[[], Awaitable[bool]], within: float = 10.0) -> None:
    """Wait for something that takes a call to see."""
    deadline = time.monotonic() + within
    while not await condition():
        assert time.monotonic() < deadline, f"not true within {within} s: {condition}"
        await asyncio.sleep(0.01)


@dataclass
class Load:
    """What callers met."""

    succeeded: int = 0
    failures: list[Exception] = field(default_factory=list)
