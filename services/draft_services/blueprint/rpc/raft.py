"""RaftService: the engine's cluster, in the words of the original's interface.

Consensus is the engine's. Its nodes come by the cluster spec, so Join only verifies that one has;
Remove is for one that is away for good.
"""

from __future__ import annotations

from typing import Any

import grpc
from draft_api.core.consensus.raft.v1 import service_pb2 as pb
from draft_api.core.consensus.raft.v1.service_pb2_grpc import RaftServiceServicer

from draft_services.blueprint.errors import Denied, FailedPrecondition, InvalidArgument
from draft_services.blueprint.rpc import ingress
from draft_services.blueprint.rpc.gate import Gate
from draft_services.engine.cluster import OFFLINE, Cluster
from draft_services.engine.members import Members, peer

Context = grpc.aio.ServicerContext[Any, Any]


class RaftRpc(RaftServiceServicer):
    """Translates calls to the engine's `Cluster`."""

    def __init__(self, cluster: Cluster, members: Members, gate: Gate) -> None:
        self._gate = gate
        self._cluster = cluster
        self._members = members

    async def Join(self, request: pb.JoinRequest, context: Context) -> pb.JoinResponse:
        async with self._gate.entered(context):
            members = await self._known(request.node_id)
            if request.node_id not in members:
                raise FailedPrecondition(
                    f"node_id: {request.node_id!r} is no member of the engine's cluster "
                    f"({', '.join(sorted(members))}); nodes join by the cluster spec: raise "
                    "core.nats.replicas and run `dctl infra apply`"
                )
            return pb.JoinResponse(node_id=request.node_id, raft_address=request.raft_address)

    async def Remove(self, request: pb.RemoveRequest, context: Context) -> pb.RemoveResponse:
        async with self._gate.entered(context) as caller:
            caller.check_full("remove a node of the engine")
            if ingress.through(context) is not None:
                raise Denied("nodes are removed beside the cluster, not through the ingress")
            node = request.node_id
            members = await self._known(node)
            how = members.get(node) or members.get(peer(node))
            if how not in (None, OFFLINE):
                raise FailedPrecondition(
                    f"node_id: {node!r} is alive, or was some seconds ago; end it first (dctl "
                    f"infra stop {node}), or lower core.nats.replicas and run `dctl infra apply`"
                )
            if how:
                alive = sum(how != OFFLINE for how in members.values())
                if 2 * alive <= len(members):
                    raise FailedPrecondition(
                        f"node_id: {alive} of {len(members)} nodes are alive, which is not more"
                        " than half: bring another one back first"
                    )
                await self._members.remove(node)
            return pb.RemoveResponse(node_id=node)

    async def Stats(self, request: pb.StatsRequest, context: Context) -> pb.StatsResponse:
        async with self._gate.entered(context):
            figures = await self._cluster.figures()
            return pb.StatsResponse(node_id=request.node_id, stats=pb.Stats(stats=figures))

    async def _known(self, node_id: str) -> dict[str, str]:
        if not node_id:
            raise InvalidArgument("node_id: must not be empty")
        return await self._members.all()
