"""A service inside a test: real gRPC on a free port of loopback, no cluster needed.

    app = Chassis(config=settings("echo"))
    app.add_servicer(Echo())
    async with running(app) as service:
        stub = service.stub(rpc.EchoServiceStub)
        answer = await stub.Speak(pb.SpeakRequest(input="hi"), timeout=5)
    assert answer.output == "hi"

Nothing is read from files or the environment. The service does not register; give `settings` a
`blueprint=` (host:port) to have it join a real one.

`dctl test` raises a cluster for the tests; `client` calls its services by name:

    @pytest.mark.skipif(not in_cluster(), reason="dctl test raises one")
    async def test_echo():
        async with client(rpc.EchoServiceStub, "echo") as echo:
            assert (await echo.Speak(pb.SpeakRequest(input="hi"))).output == "hi"
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc

from chassis import calls, discovery
from chassis.app import Chassis
from chassis.clients import Address, connect
from chassis.discovery import CORE, Instances
from chassis.errors import ChassisError
from chassis.tls import read_identity

BLUEPRINT = "DRAFT_TEST_BLUEPRINT"
"""The variable by which `dctl test` tells where Blueprint is."""
TLS, PROOF = "DRAFT_TEST_TLS_FILE", "DRAFT_TEST_PROOF_FILE"
"""Those of the files by which tests prove who calls, where the cluster asks for it."""

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


def in_cluster() -> bool:
    """Whether there is a cluster for these tests."""
    return bool(os.environ.get(BLUEPRINT))


@asynccontextmanager
async def client(
    stub: Callable[[Any], T], service: str, *, timeout: float = calls.TIMEOUT
) -> AsyncIterator[T]:
    """A stub whose calls go to `service` in the cluster that `dctl test` raised. Raises
    ChassisError when there is none."""
    if not in_cluster():
        raise ChassisError(f"{BLUEPRINT} is not set: run the tests with dctl test")
    tls = read_identity(Path(os.environ[TLS])) if os.environ.get(TLS) else None
    prove = Path(os.environ[PROOF]).read_text if os.environ.get(PROOF) else None
    instances = Instances(service)
    instances.introduce(prove if service in CORE else None, tls)
    secure = tls.to(discovery.BLUEPRINT) if tls else None
    async with connect(os.environ[BLUEPRINT], prove, secure) as blueprint:
        following = asyncio.create_task(instances.follow(blueprint))
        try:
            yield stub(calls.ServiceChannel(instances, timeout))
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            await instances.close()
