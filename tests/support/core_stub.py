"""A real gRPC server that speaks the core services' protos and answers what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from draft_api.core.control_plane.networking.v1 import service_pb2_grpc as networking
from draft_api.core.message_broker.actors.v1 import consumer_pb2_grpc, producer_pb2_grpc
from draft_api.core.registry.key_value.v1 import service_pb2_grpc as key_value
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as discovery

from dctl.clients import Way

Answer = Callable[[Any, grpc.ServicerContext], Any]


class CoreStub:
    """Answers by the name of the method: `core.answers["Get"] = lambda request, context: ...`.

    `requests` remembers what came, by method. A method without an answer is UNIMPLEMENTED.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: dict[str, list[Any]] = {}
        self._server: grpc.Server | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen: on a free port at first, on the same one after a stop."""
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)]
        )
        for service, add in (
            (key_value.KeyValueServiceServicer, key_value.add_KeyValueServiceServicer_to_server),
            (
                discovery.ServiceDiscoveryServiceServicer,
                discovery.add_ServiceDiscoveryServiceServicer_to_server,
            ),
            (
                networking.NetworkingServiceServicer,
                networking.add_NetworkingServiceServicer_to_server,
            ),
            (producer_pb2_grpc.ProducerServicer, producer_pb2_grpc.add_ProducerServicer_to_server),
            (consumer_pb2_grpc.ConsumerServicer, consumer_pb2_grpc.add_ConsumerServicer_to_server),
        ):
            add(self._answering(service), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        """Go away at once, whatever is open."""
        if self._server is not None:
            self._server.stop(grace=None).wait()
            self._server = None

    def _answering(self, servicer: type) -> Any:
        names = [name for name in vars(servicer) if not name.startswith("_")]
        return type(servicer.__name__, (servicer,), {n: self._method(n) for n in names})()

    def _method(self, name: str) -> Any:
        def method(_: Any, request: Any, context: grpc.ServicerContext) -> Any:
            answer = self.answers.get(name)
            if answer is None:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{name} has no answer here")
            if name != "Produce":  # a stream of requests is for the answer to read
                self.requests.setdefault(name, []).append(request)
            return answer(request, context)

        return method


@contextmanager
def running_core(monkeypatch: pytest.MonkeyPatch) -> Iterator[CoreStub]:
    """A core that every command of this process finds, whichever part it asks for."""
    core = CoreStub()
    core.start()
    monkeypatch.setattr("dctl.commands.core.way_to", lambda part, file: Way(core.address))
    try:
        yield core
    finally:
        core.stop()


def refuse(code: grpc.StatusCode, details: str) -> Answer:
    """An answer that is an error."""
    return lambda request, context: context.abort(code, details)
