"""Whatever is asked, a node answers with what its contract names, and goes on.

DRAFT_SEED says which requests, DRAFT_REQUESTS how many of each RPC.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as keys_pb
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry_pb
from draft_services.blueprint.settings import Settings
from google.protobuf.message_factory import GetMessageClass

from tests.support.blueprint import Node, blueprint_node, details, value
from tests.support.nats import Nats, running_nats
from tests.support.strange import Strange

SEED = int(os.environ.get("DRAFT_SEED", "0")) or random.randrange(1, 1 << 32)
REQUESTS = int(os.environ.get("DRAFT_REQUESTS", "60"))
VALUE = value().type_url
_AT_ONCE = 20
_HEARD = 3  # messages of a stream after which it is ended
_PATIENCE = 0.3  # seconds without one

OK, BAD = grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT
ABORTED, FULL = grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED
NOT_FOUND, DENIED = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED
# Besides OK and INVALID_ARGUMENT. Without faults of the engine nothing is UNAVAILABLE.
DOCUMENTED = {
    "KeyValueService.Set": {ABORTED, FULL},
    "KeyValueService.Get": {NOT_FOUND},
    "KeyValueService.Delete": {ABORTED},
    "KeyValueService.List": set(),
    "KeyValueService.Watch": {grpc.StatusCode.OUT_OF_RANGE},
    "KeyValueService.Batch": set(),
    "KeyValueService.Query": {grpc.StatusCode.UNIMPLEMENTED},
    "KeyValueService.History": set(),
    "ServiceDiscoveryService.Initialize": set(),
    "ServiceDiscoveryService.Synchronize": {DENIED, NOT_FOUND},
    "ServiceDiscoveryService.Finalize": {DENIED, NOT_FOUND},
    "ServiceDiscoveryService.ReportHealth": set(),
    "ServiceDiscoveryService.Query": set(),
    "ServiceDiscoveryService.Identify": set(),  # of a cluster that asks nobody who they are
    "ServiceDiscoveryService.Watch": set(),
}
SERVICES = [
    keys_pb.DESCRIPTOR.services_by_name["KeyValueService"],
    registry_pb.DESCRIPTOR.services_by_name["ServiceDiscoveryService"],
]
METHODS = [method for service in SERVICES for method in service.methods]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    with running_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def node(server: Nats) -> AsyncIterator[Node]:
    async with blueprint_node(Settings(nats=server.url)) as running:
        yield running


def test_every_rpc_is_asked() -> None:
    assert {f"{m.containing_service.name}.{m.name}" for m in METHODS} == set(DOCUMENTED)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: f"{m.containing_service.name}.{m.name}")
async def test_any_request_is_answered_with_a_status_of_the_contract(
    node: Node, method: Any
) -> None:
    print(f"DRAFT_SEED={SEED} DRAFT_REQUESTS={REQUESTS}")
    pids = await _processes(node)
    known = {
        "key": lambda: "k",
        "type_url": lambda: VALUE,
        "uuid": lambda: "k",
        "pid": lambda: pids[0][0],
        "token": lambda: pids[0][1],
        "operation": lambda: 1,
    }
    strange = Strange(SEED, known)
    request = GetMessageClass(method.input_type)
    stub = node.keys if method.containing_service.name == "KeyValueService" else node.registry
    call = getattr(stub, method.name)
    room = asyncio.Semaphore(_AT_ONCE)

    async def ask(message: Any) -> grpc.StatusCode:
        async with room:
            code, words = await _asked(call, message, method)
            assert (
                code in {OK, BAD} | DOCUMENTED[f"{method.containing_service.name}.{method.name}"]
            ), f"{code.name}: {words}: {str(message)[:2000]}"
            return code

    counted = Counter(
        await asyncio.gather(*(ask(strange.fill(request())) for _ in range(REQUESTS)))
    )
    print({code.name: count for code, count in counted.items()})
    await _still_answers(node)


async def _processes(node: Node) -> list[tuple[str, str]]:
    """One that is registered: its pid and token."""
    answer = await node.registry.Initialize(registry_pb.InitializeRequest(name="strange"))
    identity = answer.process_identity
    return [(identity.pid, identity.token.jwt)]


async def _asked(call: Any, message: Any, method: Any) -> tuple[grpc.StatusCode, str]:
    """What it comes to: of a stream, by its first messages."""
    asked: Any = message

    async def once() -> AsyncIterator[Any]:
        yield message

    if method.client_streaming:
        asked = once()
    going = call(asked, timeout=30)
    try:
        if not method.server_streaming:
            answer = await going
            told = [
                each.error.code for each in getattr(answer, "results", []) if each.HasField("error")
            ]
            assert set(told) <= {code.value[0] for code in {BAD, ABORTED, FULL, NOT_FOUND}}, answer
            return OK, ""
        for _ in range(_HEARD):
            answer = await asyncio.wait_for(
                asyncio.shield(asyncio.ensure_future(going.read())), _PATIENCE
            )
            if answer is grpc.aio.EOF:
                return await going.code(), await going.details() or ""
    except TimeoutError:
        pass  # it is open, and has no more to tell
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    finally:
        going.cancel()
    return OK, ""


async def _still_answers(node: Node) -> None:
    """Keys and processes are written and read as ever."""
    revision = (await node.keys.Set(keys_pb.SetRequest(key="after", value=value("v")))).revision
    got = await node.keys.Get(keys_pb.GetRequest(key="after", value=value()))
    assert (got.value, got.revision) == (value("v"), revision)
    process = await node.registry.Initialize(registry_pb.InitializeRequest(name="after"))
    stream = node.registry.Synchronize()
    await stream.write(details(process.process_identity))
    assert (await stream.read()).nodes
    wanted = registry_pb.Filter(id=process.process_identity.pid)
    assert (await node.registry.Query(registry_pb.QueryRequest(filter=wanted))).data
    stream.cancel()
