"""A Blueprint node inside the test's own loop, on a real engine, behind a real gRPC server.

The chassis is left out, so that a node starts in milliseconds and its settings are the test's.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
from draft_api.core.consensus.raft.v1 import service_pb2_grpc as raft_grpc
from draft_api.core.registry.backup.v1 import service_pb2_grpc as backup_grpc
from draft_api.core.registry.key_value.v1 import models_pb2, service_pb2_grpc
from draft_api.core.registry.service_discovery.v1 import models_pb2 as registry_models
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry_pb
from draft_api.core.registry.service_discovery.v1 import service_pb2_grpc as registry_grpc
from draft_services.blueprint.service import Blueprint
from draft_services.blueprint.settings import Settings
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

UNLIMITED = [("grpc.max_receive_message_length", -1)]


@dataclass
class Node:
    """Stubs of one running node."""

    address: str
    service: Blueprint
    channel: grpc.aio.Channel
    keys: service_pb2_grpc.KeyValueServiceAsyncStub = field(init=False)
    registry: registry_grpc.ServiceDiscoveryServiceAsyncStub = field(init=False)
    raft: raft_grpc.RaftServiceAsyncStub = field(init=False)
    backup: backup_grpc.BackupServiceAsyncStub = field(init=False)

    def __post_init__(self) -> None:
        self.keys = service_pb2_grpc.KeyValueServiceStub(self.channel)  # type: ignore[assignment]
        self.registry = registry_grpc.ServiceDiscoveryServiceStub(self.channel)  # type: ignore[assignment]
        self.raft = raft_grpc.RaftServiceStub(self.channel)  # type: ignore[assignment]
        self.backup = backup_grpc.BackupServiceStub(self.channel)  # type: ignore[assignment]


@contextlib.asynccontextmanager
async def blueprint_node(settings: Settings) -> AsyncIterator[Node]:
    """A node that is open and serves; everything is closed afterwards."""
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    address = f"127.0.0.1:{port}"
    service = Blueprint(settings, address=address)
    try:
        await service.open()
        keys, registry, raft, backup = service.servicers
        service_pb2_grpc.add_KeyValueServiceServicer_to_server(keys, server)
        registry_grpc.add_ServiceDiscoveryServiceServicer_to_server(registry, server)
        raft_grpc.add_RaftServiceServicer_to_server(raft, server)
        backup_grpc.add_BackupServiceServicer_to_server(backup, server)
        await server.start()
        async with grpc.aio.insecure_channel(address, options=UNLIMITED) as channel:
            yield Node(address, service, channel)
    finally:
        await server.stop(0)
        await service.close()


def packed(message: Message) -> Any:
    """The message as an `Any`."""
    value = Any()
    value.Pack(message)
    return value


def value(text: str = "") -> Any:
    """A plain `Value`, which also names that type."""
    return packed(models_pb2.Value(data=text))


def details(
    identity: registry_models.ProcessIdentity, **fields: object
) -> registry_pb.ClientDetails:
    """A beat of a running, healthy process."""
    said: dict[str, object] = {
        "running_state": registry_models.PROCESS_RUNNING,
        "health_state": registry_models.PROCESS_HEALTHY,
        "process_kind": registry_models.SERVER_PROCESS,
    } | fields
    return registry_pb.ClientDetails(pid=identity.pid, token=identity.token.jwt, **said)  # type: ignore[arg-type]
