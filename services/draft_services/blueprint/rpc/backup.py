"""BackupService."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc
from draft_api.core.registry.backup.v1 import service_pb2 as pb
from draft_api.core.registry.backup.v1.service_pb2_grpc import BackupServiceServicer

from draft_services.blueprint.backup import Backup, End, Part
from draft_services.blueprint.errors import Denied, InvalidArgument
from draft_services.blueprint.rpc import ingress
from draft_services.blueprint.rpc.status import answering
from draft_services.engine.snapshots import Stored

Context = grpc.aio.ServicerContext[Any, Any]


class BackupRpc(BackupServiceServicer):
    """Translates calls to `Backup`."""

    def __init__(self, backup: Backup, accept: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self._backup = backup
        self._accept = accept

    async def Describe(self, request: pb.DescribeRequest, context: Context) -> pb.DescribeResponse:
        async with answering(context):
            self._admit(request.nonce, context)
            streams = await self._backup.describe()
            return pb.DescribeResponse(
                versions=self._versions(),
                streams=map(self._stream, streams),
                awaits_data=await self._backup.awaits_data(),
            )

    async def Create(
        self, request: pb.CreateRequest, context: Context
    ) -> AsyncIterator[pb.CreateResponse]:
        async with answering(context):
            self._admit(request.nonce, context)
            yield pb.CreateResponse(versions=self._versions())
            async for part in self._backup.create(hold=request.hold):
                match part:
                    case Stored():
                        yield pb.CreateResponse(stream=self._stream(part))
                    case End(sha256, size):
                        yield pb.CreateResponse(end=pb.End(sha256=sha256, size=size))
                    case _:
                        yield pb.CreateResponse(chunk=part)

    async def Restore(
        self, request_iterator: AsyncIterator[pb.RestoreRequest], context: Context
    ) -> pb.RestoreResponse:
        async with answering(context):
            parts = aiter(request_iterator)
            first = await anext(parts, pb.RestoreRequest())
            if first.WhichOneof("part") != "nonce":
                raise InvalidArgument("part: the nonce has to come first")
            self._admit(first.nonce, context)
            restored = await self._backup.restore(_parts(parts))
            return pb.RestoreResponse(streams=map(self._stream, restored))
        raise AssertionError("answered")  # the context was aborted

    async def AcceptLoss(
        self, request: pb.AcceptLossRequest, context: Context
    ) -> pb.AcceptLossResponse:
        async with answering(context):
            self._admit(request.nonce, context)
            return pb.AcceptLossResponse(streams=await self._accept())

    def _admit(self, nonce: str, context: Context) -> None:
        if ingress.through(context) is not None:
            raise Denied("backups are made beside the cluster, not through the ingress")
        self._backup.admit(nonce)

    def _versions(self) -> pb.Versions:
        return pb.Versions(draft=_draft(), engine=self._backup.engine_version)

    def _stream(self, stored: Stored) -> pb.Stream:
        return pb.Stream(
            name=stored.name,
            config=json.dumps(stored.config),
            state=json.dumps(stored.state),
            live=self._backup.tells_what_runs(stored),
        )


async def _parts(requests: AsyncIterator[pb.RestoreRequest]) -> AsyncIterator[Part]:
    async for request in requests:
        match request.WhichOneof("part"):
            case "stream":
                yield _stored(request.stream)
            case "chunk":
                yield request.chunk
            case "end":
                yield End(request.end.sha256, request.end.size)
            case _:
                raise InvalidArgument("part: a stream, a chunk or an end has to follow the nonce")


def _stored(stream: pb.Stream) -> Stored:
    try:
        config, state = json.loads(stream.config), json.loads(stream.state)
    except ValueError as error:
        raise InvalidArgument(f"stream: {stream.name} is not told in JSON: {error}") from None
    if not isinstance(config, dict) or config.get("name") != stream.name:
        raise InvalidArgument(f"stream.config: is not that of {stream.name}")
    return Stored(stream.name, config, state)


def _draft() -> str:
    try:
        return version("draft")
    except PackageNotFoundError:
        return ""
