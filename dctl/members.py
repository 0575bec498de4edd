"""The engine's nodes, through Blueprint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dctl.errors import DctlError

if TYPE_CHECKING:
    from dctl.clients import Connection

_AGAIN = 0.5


def remove(core: Connection, node: str, *, within: float) -> None:
    """Have a node that is away for good count no more. That one is away, the others find out after
    some seconds: it is tried for as long as `within`."""
    from draft_api.core.consensus.raft.v1 import service_pb2 as pb
    from draft_api.core.consensus.raft.v1 import service_pb2_grpc as rpc

    deadline = time.monotonic() + within
    while True:
        try:
            core.call(core.stub(rpc.RaftServiceStub).Remove, pb.RemoveRequest(node_id=node))
            return
        except DctlError:
            if time.monotonic() + _AGAIN > deadline:
                raise
        time.sleep(_AGAIN)
