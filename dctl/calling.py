"""One call of a method that is known by reflection only: JSON in, JSON out."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dctl.errors import DctlError, NotFoundError, UsageError

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, MethodDescriptor
    from google.protobuf.message import Message

    from dctl.clients import Connection
    from dctl.reflection import Reflection

_ANY = re.compile(r'"@type"\s*:\s*"[^"]*/([\w.]+)"')
_UNKNOWN = re.compile(r"type_url: \S*/([\w.]+)")


def find_method(methods: Sequence[MethodDescriptor], wanted: str) -> MethodDescriptor:
    """The one that is meant: by its name if one only has it, else with its service's in front
    (`OrdersService.Create`, `shop.orders.v1.OrdersService/Create`)."""
    text = wanted.replace("/", ".").strip(".")
    found = [m for m in methods if m.full_name == text or m.full_name.endswith(f".{text}")]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(m.full_name for m in found)
        raise UsageError(f'"{wanted}" may be {names}', hint="say which: SERVICE.METHOD")
    near = difflib.get_close_matches(text.rpartition(".")[2], [m.name for m in methods], n=1)
    near = near or [m.name for m in methods if m.name.lower() == text.lower()]
    raise NotFoundError(
        f'there is no method "{wanted}"' + (f'; did you mean "{near[0]}"?' if near else ""),
        hint=f"there are: {', '.join(m.name for m in methods) or 'none'}",
    )


class Call:
    """How one method is called over a connection."""

    def __init__(
        self, connection: Connection, method: MethodDescriptor, reflection: Reflection
    ) -> None:
        from google.protobuf.message_factory import GetMessageClass

        self._connection = connection
        self._method = method
        self._reflection = reflection
        self._request = GetMessageClass(method.input_type)
        self._answer = GetMessageClass(method.output_type)

    @property
    def path(self) -> str:
        return f"/{self._method.containing_service.full_name}/{self._method.name}"

    def parse(self, text: str, where: str = "the request") -> Message:
        """A request from proto JSON; UsageError that says what is wrong with it."""
        from google.protobuf import json_format

        message = self._request()
        try:
            json.loads(text)
            self._reflection.learn_types(_ANY.findall(text))
            json_format.Parse(text, message, descriptor_pool=self._reflection.pool)
        except json.JSONDecodeError as error:
            raise UsageError(
                f"{where} is no JSON: {error.msg} (line {error.lineno}, column {error.colno})",
                hint='such as: \'{"item": "book"}\'',
            ) from None
        except json_format.Error as error:
            raise UsageError(
                f"{where} is no {self._method.input_type.name}: {error}",
                hint=f"dctl call SERVICE {self._method.name} --describe",
            ) from None
        return message

    def send(
        self,
        requests: Iterable[Message],
        metadata: Sequence[tuple[str, Any]],
        seconds: float | None,
    ) -> Iterator[dict[str, Any]]:
        """The answers, each when it comes. DctlError with the status that the service gave."""
        import grpc

        channel: grpc.Channel = self._connection.stub(lambda channel: channel)
        kinds = {
            (False, False): channel.unary_unary,
            (False, True): channel.unary_stream,
            (True, False): channel.stream_unary,
            (True, True): channel.stream_stream,
        }
        streams = self._method.client_streaming, self._method.server_streaming
        call: Any = kinds[streams](
            self.path,
            request_serializer=self._request.SerializeToString,
            response_deserializer=self._answer.FromString,
        )
        sent = iter(requests)
        broken: list[DctlError] = []
        request = _noting(sent, broken) if streams[0] else next(sent)
        stream: Any = None
        try:
            answer = call(request, timeout=seconds, metadata=metadata)
            stream = answer if streams[1] else None
            for message in answer if streams[1] else (answer,):
                yield self._plain(message)
        except grpc.RpcError as error:
            if broken:  # our own: gRPC only says that the requests ended
                raise broken[0] from None
            raise self._refused(error, seconds) from error
        finally:
            if stream is not None:
                stream.cancel()

    def _plain(self, message: Message) -> dict[str, Any]:
        from google.protobuf import json_format

        pool = self._reflection.pool
        try:
            try:
                return json_format.MessageToDict(message, descriptor_pool=pool)
            except TypeError as error:  # of an Any whose type is not known yet
                self._reflection.learn_types(_UNKNOWN.findall(str(error)))
                return json_format.MessageToDict(message, descriptor_pool=pool)
        except (json_format.Error, TypeError) as error:
            raise DctlError(f"the answer cannot be told as JSON: {error}") from None

    def _refused(self, error: Any, seconds: float | None) -> DctlError:
        from dctl.clients import translate

        code = error.code()
        found = translate(self._connection.who, code, error.details() or "", timeout=seconds or 0.0)
        if type(found) in (DctlError, NotFoundError):  # its own answer, so by the name it has
            found.message = f"{code.name}: {found.message.removeprefix(f'{code.name}: ')}"
        return found


def _noting(requests: Iterator[Message], broken: list[DctlError]) -> Iterator[Message]:
    try:
        yield from requests
    except DctlError as error:
        broken.append(error)
        raise


def describe(method: MethodDescriptor) -> str:
    """The method and its messages, as a proto says it."""
    from dctl.reflection import signature

    asks, answers = signature(method)
    lines = [f"rpc {method.name}({asks}) returns ({answers});"]
    seen: dict[str, Descriptor] = {}
    left = [method.input_type, method.output_type]
    while left:
        message = left.pop(0)
        if message.full_name in seen or message.full_name.startswith("google."):
            continue
        seen[message.full_name] = message
        lines += ["", f"message {message.name} {{", *map(_field, message.fields), "}"]
        for field in message.fields:
            kind = field.message_type
            if kind is not None and kind.GetOptions().map_entry:
                kind = kind.fields_by_name["value"].message_type
            left += [kind] if kind is not None else []
            if field.enum_type is not None and field.enum_type.full_name not in seen:
                seen[field.enum_type.full_name] = message
                values = (f"  {v.name} = {v.number};" for v in field.enum_type.values)
                lines += ["", f"enum {field.enum_type.name} {{", *values, "}"]
    return "\n".join(lines)


def _field(field: Any) -> str:
    return f"  {_kind(field)} {field.name} = {field.number};"


def _kind(field: Any) -> str:
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        fields = message.fields_by_name
        return f"map<{_kind(fields['key'])}, {_kind(fields['value'])}>"
    if message is not None:
        name = message.full_name if message.full_name.startswith("google.") else message.name
    elif field.enum_type is not None:
        name = field.enum_type.name
    else:
        name = _SCALARS[field.type]
    return f"repeated {name}" if field.is_repeated else str(name)


_SCALARS: Mapping[int, str] = {
    1: "double",
    2: "float",
    3: "int64",
    4: "uint64",
    5: "int32",
    6: "fixed64",
    7: "fixed32",
    8: "bool",
    9: "string",
    12: "bytes",
    13: "uint32",
    15: "sfixed32",
    16: "sfixed64",
    17: "sint32",
    18: "sint64",
}
"""FieldDescriptorProto.Type, by its numbers."""
