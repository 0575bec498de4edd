"""What a running service says of itself: its gRPC services, their methods and messages.

It is asked by server reflection, in as few round trips as its answers allow. (The library's own
client has no deadline.)
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dctl.errors import DctlError, NotFoundError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    from dctl.clients import Connection

# The same messages under two names; the older one is spoken by all that speak any.
_PATHS = (
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
)
_OWN = ("grpc.reflection.", "grpc.health.")


class Reflection:
    """What one service says, over a connection to it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._channel: grpc.Channel = connection.stub(lambda channel: channel)
        self._known: set[str] = set()

    @functools.cached_property
    def pool(self) -> DescriptorPool:
        """All that it has told until now."""
        from google.protobuf.descriptor_pool import DescriptorPool

        return DescriptorPool()

    def names(self) -> list[str]:
        """Its gRPC services by their full names; those that every one has left out."""
        from grpc_reflection.v1alpha import reflection_pb2 as pb

        (answer,) = self._ask([pb.ServerReflectionRequest(list_services="*")])
        names = (service.name for service in answer.list_services_response.service)
        return sorted(name for name in names if not name.startswith(_OWN))

    def methods(self, services: Sequence[str]) -> list[MethodDescriptor]:
        """The methods of these services, in the order of their protos."""
        self._learn(services)
        found = [self.pool.FindServiceByName(name) for name in services]
        return [method for service in found for method in service.methods]

    def learn_types(self, names: Iterable[str]) -> None:
        """Get to know messages that travel inside an Any, as far as the service knows them."""
        for name in names:
            with suppress(NotFoundError):
                self._learn([name])

    def _learn(self, symbols: Sequence[str]) -> None:
        from grpc_reflection.v1alpha import reflection_pb2 as pb

        asked: list[Any] = [pb.ServerReflectionRequest(file_containing_symbol=n) for n in symbols]
        new: dict[str, FileDescriptorProto] = {}
        while asked:
            for answer in self._ask(asked):
                for text in answer.file_descriptor_response.file_descriptor_proto:
                    file = _file(text)
                    if file.name not in self._known:
                        new[file.name] = file
            missing = {name for file in new.values() for name in file.dependency}
            missing -= new.keys() | self._known
            asked = [pb.ServerReflectionRequest(file_by_filename=n) for n in sorted(missing)]
        for file in _imports_first(new):
            self.pool.Add(file)
        self._known |= new.keys()

    def _ask(self, requests: Sequence[Any]) -> list[Any]:
        import grpc

        for path in _PATHS:
            try:
                with self._connection.translated_but(grpc.StatusCode.UNIMPLEMENTED):
                    return self._talk(path, requests)
            except NotImplementedError:
                continue
        raise DctlError(
            f"{self._connection.who} has no server reflection",
            hint="a service of the chassis has it, unless its draft.reflection is false",
        )

    def _talk(self, path: str, requests: Sequence[Any]) -> list[Any]:
        from grpc_reflection.v1alpha import reflection_pb2 as pb

        talk = self._channel.stream_stream(
            path,
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString,
        )
        answers = list(talk(iter(requests), timeout=self._connection.timeout))
        for answer in answers:
            if answer.HasField("error_response"):
                raise NotFoundError(
                    f"{self._connection.who} cannot tell: {answer.error_response.error_message}"
                )
        return answers


def signature(method: MethodDescriptor) -> tuple[str, str]:
    """Request and answer by their short names, as a proto says it."""
    return (
        ("stream " if method.client_streaming else "") + method.input_type.name,
        ("stream " if method.server_streaming else "") + method.output_type.name,
    )


def _file(text: bytes) -> FileDescriptorProto:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    return FileDescriptorProto.FromString(text)


def _imports_first(files: dict[str, FileDescriptorProto]) -> Iterator[FileDescriptorProto]:
    done: set[str] = set()

    def visit(name: str) -> Iterator[FileDescriptorProto]:
        if name in done or name not in files:
            return
        done.add(name)
        for other in files[name].dependency:
            yield from visit(other)
        yield files[name]

    for name in sorted(files):
        yield from visit(name)
