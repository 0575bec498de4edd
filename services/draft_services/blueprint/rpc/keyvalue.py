"""KeyValueService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import grpc
from draft_api.core.registry.key_value.v1 import models_pb2 as models
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceServicer
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration

from chassis.clients import MAX_MESSAGE
from draft_services.blueprint.access import Caller, Verb
from draft_services.blueprint.errors import InvalidArgument, TooLarge
from draft_services.blueprint.keyvalue import Chunk, KeyValue, checked_type, identity
from draft_services.blueprint.rpc import ingress, query
from draft_services.blueprint.rpc.gate import Gate
from draft_services.blueprint.rpc.status import TRANSLATED, status
from draft_services.engine.store import Change, Entry, Key, Version

Answer = TypeVar("Answer", pb.ListResponse, pb.QueryResponse)
Context = grpc.aio.ServicerContext[Any, Any]

VALUE = "type.googleapis.com/core.registry.key_value.v1.Value"
LEADER = Key(VALUE, "leader")
_ADDRESSES = (LEADER, Key(VALUE, "fuse_address"))  # keys whose value is a core service's URL
_MAX_BATCH = 1000


def plain_value(text: str) -> bytes:
    """A text as the content of a `Value`."""
    return models.Value(data=text).SerializeToString()


def plain_text(value: bytes) -> str:
    """The text of a `Value`'s content."""
    return models.Value.FromString(value).data


class KeyValueRpc(KeyValueServiceServicer):
    """Translates calls to `KeyValue`."""

    def __init__(self, keys: KeyValue, gate: Gate) -> None:
        self._keys = keys
        self._gate = gate

    def about(self, request: Any) -> Mapping[str, str]:
        """What a request is about, for the log of slow ones."""
        if isinstance(request, pb.BatchRequest):
            return {"operations": str(len(request.operations))}
        if isinstance(request, pb.QueryRequest):
            return {}
        key = getattr(request, "key", "") or getattr(request, "prefix", "")
        return {"key": key, "type": request.value.type_url}

    async def Set(self, request: pb.SetRequest, context: Context) -> pb.SetResponse:
        async with self._gate.entered(context) as caller:
            return await self._set(request, context, caller)

    async def Get(self, request: pb.GetRequest, context: Context) -> pb.GetResponse:
        async with self._gate.entered(context) as caller:
            return await self._get(request, context, caller)

    async def Delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:
        async with self._gate.entered(context) as caller:
            return await self._delete(request, context, caller)

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListResponse:
        async with self._gate.entered(context) as caller:
            kind = checked_type(request.value.type_url)
            caller.check_prefix(Verb.READ, Key(kind, request.prefix))
            page = await self._keys.list(
                kind,
                request.prefix,
                request.page_size,
                request.page_token,
            )
            return _sendable(
                pb.ListResponse(
                    values={entry.key.name: _any(entry) for entry in page.entries},
                    next_page_token=page.token,
                    revision=page.revision,
                )
            )

    async def Watch(
        self, request: pb.WatchRequest, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        async with self._gate.watching(context) as caller:
            caller.check_prefix(Verb.READ, Key(request.value.type_url, request.prefix))
            async for chunk in self._keys.watch(
                request.value.type_url, request.prefix, request.from_revision, request.generation
            ):
                yield _watched(chunk, self._keys.generation)

    async def Batch(self, request: pb.BatchRequest, context: Context) -> pb.BatchResponse:
        async with self._gate.entered(context) as caller:
            if len(request.operations) > _MAX_BATCH:
                raise InvalidArgument(f"operations: more than {_MAX_BATCH}")
            self._gate.spend(caller, context, len(request.operations) - 1)
            results: list[pb.BatchResult] = []
            for part in independent(request.operations):
                work = (self._operate(each, context, caller) for each in part)
                results += await asyncio.gather(*work)
            return pb.BatchResponse(results=results)

    async def Query(self, request: pb.QueryRequest, context: Context) -> pb.QueryResponse:
        async with self._gate.entered(context) as caller:
            statement = query.parse(request.statement)
            caller.check_prefix(Verb.READ, Key(statement.type_url, ""))
            page = await self._keys.list(statement.type_url, "", 0, "")
            return _sendable(
                pb.QueryResponse(
                    values={
                        entry.key.name: _any(entry)
                        for entry in page.entries
                        if statement.selects(entry.key.name, entry.value)
                    },
                    revision=page.revision,
                )
            )

    async def History(self, request: pb.HistoryRequest, context: Context) -> pb.HistoryResponse:
        async with self._gate.entered(context) as caller:
            key = identity(request.value.type_url, request.key)
            caller.check(Verb.READ, key)
            past = await self._keys.history(key, request.limit)
            return pb.HistoryResponse(versions=map(_version, past.versions), complete=past.complete)

    async def _set(
        self, request: pb.SetRequest, context: Context, caller: Caller
    ) -> pb.SetResponse:
        key = identity(request.value.type_url, request.key)
        caller.check(Verb.WRITE, key)
        revision = await self._keys.set(
            key,
            request.value.value,
            expected=request.expected_revision if request.HasField("expected_revision") else None,
            ttl=_seconds(request.ttl) if request.HasField("ttl") else None,
        )
        self._gate.note(caller, context, "set", key, revision)
        return pb.SetResponse(key=key.name, revision=revision)

    async def _get(
        self, request: pb.GetRequest, context: Context, caller: Caller
    ) -> pb.GetResponse:
        key = identity(request.value.type_url, request.key)
        caller.check(Verb.READ, key)
        entry = await self._keys.get(key)
        value = entry.value
        if entry.key in _ADDRESSES and (url := ingress.through(context)):
            value = plain_value(url)
        return pb.GetResponse(
            value=AnyMessage(type_url=entry.key.kind, value=value), revision=entry.revision
        )

    async def _delete(
        self, request: pb.DeleteRequest, context: Context, caller: Caller
    ) -> pb.DeleteResponse:
        key = identity(request.value.type_url, request.key)
        caller.check(Verb.WRITE, key)
        revision = await self._keys.delete(
            key,
            expected=request.expected_revision if request.HasField("expected_revision") else None,
        )
        self._gate.note(caller, context, "delete", key, revision)
        return pb.DeleteResponse(key=key.name, revision=revision)

    async def _operate(
        self, operation: pb.BatchOperation, context: Context, caller: Caller
    ) -> pb.BatchResult:
        try:
            match operation.WhichOneof("operation"):
                case "set":
                    return pb.BatchResult(set=await self._set(operation.set, context, caller))
                case "delete":
                    return pb.BatchResult(
                        delete=await self._delete(operation.delete, context, caller)
                    )
                case "get":
                    return pb.BatchResult(get=await self._get(operation.get, context, caller))
                case _:
                    raise InvalidArgument("operation: must be set, delete or get")
        except TRANSLATED as error:
            self._gate.note_denial(error, context)
            code = status(error).value[0]
            return pb.BatchResult(error=pb.BatchError(code=code, message=str(error)))


def independent(operations: Iterable[pb.BatchOperation]) -> Iterator[list[pb.BatchOperation]]:
    """The operations in order, in parts within which no key is twice: of those it cannot be told
    which was first."""
    part: list[pb.BatchOperation] = []
    keys: set[tuple[str, str]] = set()
    for operation in operations:
        kind = operation.WhichOneof("operation")
        asked = getattr(operation, kind) if kind else None
        key = (asked.value.type_url, asked.key.strip()) if asked else ("", "")
        if key in keys:
            yield part
            part, keys = [], set()
        part.append(operation)
        keys.add(key)
    yield part


def _any(entry: Entry) -> AnyMessage:
    return AnyMessage(type_url=entry.key.kind, value=entry.value)


def _sendable(answer: Answer) -> Answer:
    """The answer, if a message can hold it."""
    if answer.ByteSize() > MAX_MESSAGE:
        raise TooLarge(
            f"the answer has {answer.ByteSize()} bytes, a message holds {MAX_MESSAGE}: "
            "list in pages (page_size)"
        )
    return answer


def _watched(chunk: Chunk, generation: str) -> pb.WatchResponse:
    events = [_event(change) for change in chunk.changes]
    if chunk.synced:
        kind = pb.WatchEvent.Kind.KIND_SYNCED
        events.append(pb.WatchEvent(kind=kind, revision=chunk.revision))
    return pb.WatchResponse(events=events, revision=chunk.revision, generation=generation)


def _event(change: Change) -> pb.WatchEvent:
    kinds = pb.WatchEvent.Kind
    return pb.WatchEvent(
        kind=kinds.KIND_PUT if change.entry else kinds.KIND_DELETE,
        key=change.key.name,
        value=AnyMessage(
            type_url=change.key.kind, value=change.entry.value if change.entry else b""
        ),
        revision=change.revision,
    )


def _version(version: Version) -> pb.Version:
    event = _event(version.change)
    answer = pb.Version(kind=event.kind, value=event.value, revision=event.revision)
    answer.time.FromNanoseconds(round(version.time * 1e9))
    return answer


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
