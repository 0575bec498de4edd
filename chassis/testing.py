"""A service inside a test: real gRPC on a free port of loopback, no cluster needed.

    app = Chassis(config=settings("echo"))
    app.add_servicer(Echo())
    async with running(app) as service:
        stub = service.stub(rpc.EchoServiceStub)
        answer = await stub.Speak(pb.SpeakRequest(input="hi"), timeout=5)
    assert answer.output == "hi"

Nothing is read from files or the environment. The service does not register; give `settings` a
`blueprint=` (host:port) to have it join a real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc

from chassis.app import Chassis
from chassis.clients import Address, connect

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Running:
    """A service that serves. `stub` gives stubs over one shared channel."""

    app: Chassis[Any]
    channel: grpc.aio.Channel

    @property
    def address(self) -> Address:
        return self.app.address

    def stub(self, kind: Callable[[grpc.aio.Channel], T]) -> T:
        return kind(self.channel)


@asynccontextmanager
async def running(
    app: Chassis[Any], *, services: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Serve `app` for as long as the block lasts; raises when a runner failed. `services` says at
    which addresses (host:port) the services are that it calls."""
    async with app.serving(services), connect(app.address) as channel:
        yield Running(app, channel)


def settings(
    name: str, *, blueprint: str = "", instance: str = "", **own: Any
) -> Mapping[str, Any]:
    """A configuration for `Chassis(config=...)`: loopback, a free port, no waiting at the end.
    `own` are the service's own settings."""
    service: dict[str, Any] = {
        "name": name,
        "entrypoint": blueprint,
        "network": {"bind_address": "127.0.0.1", "bind_port": 0},
    }
    if instance:
        service["metadata"] = {"draft.instance": instance}
    return {"service": service, "draft": {"drain": 0, "grace": 1, "beat": 0.5}, **own}
