"""RaftService: the engine's cluster, in the words of the original's interface.

Consensus is the engine's. Its nodes come and go by the cluster spec, so Join and Remove only verify
that they have.
"""

from __future__ import annotations

from typing import Any

import grpc
from draft_api.core.consensus.raft.v1 import service_pb2 as pb
from draft_api.core.consensus.raft.v1.service_pb2_grpc import RaftServiceServicer

from draft_services.blueprint.errors import FailedPrecondition, InvalidArgument
from draft_services.blueprint.rpc.gate import Gate
from draft_services.engine.cluster import Cluster

Context = grpc.aio.ServicerContext[Any, Any]


class RaftRpc(RaftServiceServicer):
    """Translates calls to the engine's `Cluster`."""

    def __init__(self, cluster: Cluster, gate: Gate) -> None:
        self._gate = gate
        self._cluster = cluster

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        async with self._gate.entered(context):
            members = await self._members(request.node_id)
            if request.node_id not in members:
                raise FailedPrecondition(
                    f"node_id: {request.node_id!r} is no member of the engine's cluster "
                    f"({', '.join(members)}); nodes join by the cluster spec: raise "
                    "core.nats.replicas and run `dctl infra apply`"
                )
            return pb.JoinResponse(node_id=request.node_id, raft_address=request.raft_address)

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.RemoveResponse:
        async with self._gate.entered(context):
            if request.node_id in await self._members(request.node_id):
                raise FailedPrecondition(
                    f"node_id: {request.node_id!r} is a member of the engine's cluster; nodes "
                    "leave by the cluster spec: lower core.nats.replicas and run `dctl infra apply`"
                )
            return pb.RemoveResponse(node_id=request.node_id)

    async def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        async with self._gate.entered(context):
            figures = await self._cluster.figures()
            return pb.StatsResponse(node_id=request.node_id, stats=pb.Stats(stats=figures))

    async def _members(self, node_id: str) -> list[str]:
        if not node_id:
            raise InvalidArgument("node_id: must not be empty")
        return await self._cluster.members()
