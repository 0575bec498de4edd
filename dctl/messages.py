"""Protobuf messages by their full names: from text, into an Any, and back into plain values.

The command line names types as text (`--type examples.crud.v1.Name`); what can be named is what
`draft_api` and protobuf's well-known types describe.
"""

from __future__ import annotations

import base64
import difflib
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from dctl.errors import UsageError

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.message import Message

VALUE = "core.registry.key_value.v1.Value"
"""The type of plain strings, which the command line calls `value`."""

_VALUE_MODULE = "draft_api.core.registry.key_value.v1.models_pb2"
_WELL_KNOWN = ("descriptor", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")


def full_name(name: str) -> str:
    """The full name of a type as the command line knows it."""
    return VALUE if name == "value" else name


def short_name(name: str) -> str:
    """The command line's name of a type; the inverse of `full_name`."""
    return "value" if name == VALUE else name


def type_name(value: AnyMessage) -> str:
    """The full name of the type inside an Any."""
    return value.type_url.rpartition("/")[2]


def message_class(name: str) -> type[Message]:
    """The class of a full name; UsageError, with what is near, when nothing describes it."""
    found = _find(name)
    if found is None:
        near = difflib.get_close_matches(name, _names(), n=1)
        raise UsageError(
            f'no message type "{name}"',
            hint=f'did you mean "{near[0]}"?' if near else "give its full name, package included",
        )
    return found


def empty(name: str) -> AnyMessage:
    """An Any that names a type and holds nothing, as requests name types."""
    from google.protobuf.any_pb2 import Any as AnyMessage

    return AnyMessage(type_url=f"type.googleapis.com/{full_name(name)}")


def parse(name: str, text: str) -> AnyMessage:
    """`text` as a message: as it is for `value`, as the type's JSON for every other."""
    from google.protobuf import json_format
    from google.protobuf.any_pb2 import Any as AnyMessage

    message = message_class(full_name(name))()
    if name in ("value", VALUE):
        setattr(message, "data", text)  # noqa: B010  (the class is known by name only)
    else:
        try:
            json_format.Parse(text, message)
        except json_format.ParseError as error:
            raise UsageError(f"the value is not a {name} in JSON: {error}") from error
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def plain(value: AnyMessage) -> Any:
    """What an Any holds: a string for a Value, the type's JSON otherwise.

    A type that nothing here describes is shown by its bytes, so that data is never hidden.
    """
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError

    name = type_name(value)
    found = _find(name)
    try:
        if found is not None:
            message = found.FromString(value.value)
            if name == VALUE:
                return getattr(message, "data")  # noqa: B009  (the class is known by name only)
            return json_format.MessageToDict(message)
    except (DecodeError, TypeError):  # TypeError: an Any inside, of a type that is not described
        pass
    return _bytes_of(value)


def portable(value: AnyMessage) -> Any:
    """The same, from which `packed` makes the value again: by its bytes where words would lose
    something, as a field that is not described here."""
    told = plain(value)
    try:
        if packed(type_name(value), told) == value:
            return told
    except UsageError:
        pass
    return _bytes_of(value)


def packed(name: str, told: Any) -> AnyMessage:
    """What `plain` told of a message of this type, as an Any."""
    import json

    from google.protobuf.any_pb2 import Any as AnyMessage

    if isinstance(told, dict) and told.keys() == {"@type", "base64"}:
        try:
            return AnyMessage(type_url=told["@type"], value=base64.b64decode(told["base64"]))
        except (TypeError, ValueError) as error:
            raise UsageError(f"the value is not in base64: {error}") from error
    if full_name(name) == VALUE:
        if not isinstance(told, str):
            raise UsageError("the value has to be a text")
        return parse(name, told)
    return parse(name, json.dumps(told))


def _bytes_of(value: AnyMessage) -> dict[str, str]:
    return {"@type": value.type_url, "base64": base64.b64encode(value.value).decode()}


def _find(name: str) -> type[Message] | None:
    importlib.import_module(_VALUE_MODULE)
    found = _described(name)
    if found is None:  # import the rest only for whoever asks for it
        for module in _modules():
            importlib.import_module(module)
        found = _described(name)
    return found


def _described(name: str) -> type[Message] | None:
    from google.protobuf import descriptor_pool, message_factory

    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(descriptor)


def _modules() -> list[str]:
    import draft_api

    ours = [
        module.name
        for module in pkgutil.walk_packages(draft_api.__path__, "draft_api.")
        if module.name.endswith("_pb2")
    ]
    return [*ours, *(f"google.protobuf.{name}_pb2" for name in _WELL_KNOWN)]


def _names() -> list[str]:
    modules = map(importlib.import_module, _modules())
    return [m.full_name for mod in modules for m in mod.DESCRIPTOR.message_types_by_name.values()]
