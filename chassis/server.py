"""make_server(): the one way to build a gRPC server. Health is always on, reflection by default."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis.clients import MAX_MESSAGE, Address
from chassis.errors import BindError, ChassisError
from chassis.health import HealthServicer
from chassis.interceptor import CallInterceptor

if TYPE_CHECKING:
    from chassis.guard import Guard
    from chassis.metrics import Metrics
    from chassis.slow import SlowLog
    from chassis.tls import Identity

OPTIONS: Sequence[tuple[str, Any]] = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # Two processes on one port would share connections and differ in state.
    ("grpc.so_reuseport", 0),
    # Clients ping every 10 s; by default a server sends those away (too_many_pings).
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


_STREAMS = 0.5  # seconds that open streams get to end by themselves: a watch never does


class Server:
    """A gRPC server, its health, and the names of what it serves."""

    def __init__(
        self,
        server: grpc.aio.Server,
        calls: CallInterceptor,
        address: Address,
        names: Sequence[str],
        reflects: bool = True,
    ) -> None:
        self.address = address
        self.services = tuple(names)
        self._server = server
        self._calls = calls
        self._health = HealthServicer()
        add_health: Callable[..., None] = health_pb2_grpc.add_HealthServicer_to_server
        add_health(self._health, server)
        if not reflects:
            return
        add_reflection: Callable[..., None] = reflection.enable_server_reflection
        add_reflection((*names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    async def start(self, *, serving: bool = True, why: str = "") -> None:
        """Listen, and say so: SERVING for the server as a whole and each service."""
        await self.set_serving(False)
        await self._server.start()
        await self.set_serving(serving, why)

    async def set_serving(self, serving: bool, why: str = "") -> None:
        """What health answers from now on, and why; it does not stop any call."""
        self._health.why = "" if serving else why
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        for name in ("", *self.services):
            await self._health.set(name, state)

    async def quiet(self, wanted: float) -> None:
        """Return once there was no call for `wanted` seconds, counted from now on."""
        until = time.monotonic() + wanted
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(left)
            until = max(until, self._calls.last + wanted)

    async def stop(self, grace: float) -> None:
        """Take no more calls; give those that run `grace` seconds, streams at most half of one."""
        await self._health.enter_graceful_shutdown()
        streams = asyncio.get_running_loop().call_later(_STREAMS, self._calls.end_streams)
        try:
            await self._server.stop(grace)
        finally:
            streams.cancel()


def make_server(
    servicers: Iterable[object],
    address: Address,
    *,
    handlers: Iterable[grpc.GenericRpcHandler] = (),
    slow: SlowLog | None = None,
    metrics: Metrics | None = None,
    guard: Guard | None = None,
    tls: Identity | None = None,
    reflects: bool = True,
) -> Server:
    """A server for `servicers` that is bound to `address` (port 0: any) and not yet started. Calls
    are told to `slow` and counted in `metrics`; those of the `servicers` pass the `guard`. With
    `tls` only who is of the same cluster gets a connection. One that `reflects` tells what there is
    to call.

    Raises BindError when the address is taken, ChassisError for what is no servicer.
    """
    calls = CallInterceptor(slow, metrics, guard)
    server = grpc.aio.server(interceptors=[calls], options=OPTIONS)
    names: list[str] = []
    for servicer in servicers:
        adder_of(servicer)(servicer, _Recorder(server, names))
    calls.guarded = tuple(f"/{name}/" for name in names)
    server.add_generic_rpc_handlers(tuple(handlers))
    _check_free(address)
    try:
        port = (
            server.add_secure_port(str(address), tls.server())
            if tls
            else server.add_insecure_port(str(address))
        )
    except RuntimeError:
        raise BindError(f"cannot listen on {address}: it was taken just now") from None
    return Server(server, calls, Address(address.host, port), names, reflects)


def _check_free(address: Address) -> None:
    """gRPC says only that it failed, and prints its own lines about it; the system says why."""
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC's own does
            probe.bind((address.host, address.port))
    except OSError as error:
        why = "it is taken" if error.errno == errno.EADDRINUSE else error.strerror
        raise BindError(
            f"cannot listen on {address}: {why}; set service.network.bind_address or .bind_port"
        ) from None


def adder_of(servicer: object) -> Callable[..., None]:
    """The generated `add_XServicer_to_server` beside the base class XServicer of `servicer`."""
    for base in type(servicer).__mro__:
        module = sys.modules.get(base.__module__)
        adder = getattr(module, f"add_{base.__name__}_to_server", None)
        if adder is not None:
            return cast("Callable[..., None]", adder)
    raise ChassisError(
        f"{type(servicer).__name__} is no servicer: derive it from the generated ...Servicer class"
    )


class _Recorder:
    """Takes the place of the server in a generated adder, to learn the service's full name."""

    def __init__(self, server: grpc.aio.Server, names: list[str]) -> None:
        self._server = server
        self._names = names

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._server.add_generic_rpc_handlers(handlers)

    def add_registered_method_handlers(self, name: str, handlers: Any) -> None:
        self._names.append(name)
        self._server.add_registered_method_handlers(name, handlers)
