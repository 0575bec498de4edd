"""Move the files of a descriptor set under a package's folder, before code is generated from it.

protoc derives Python's import paths from file names. `core/.../service.proto` would become the
top-level package `core`, which collides with anybody's; `draft_api/core/.../service.proto` becomes
`draft_api.core...`. Package and service names, which are what travels, do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        FieldDescriptorProto,
        FileDescriptorSet,
    )

# Their Python code comes with wheels of their own, and a second copy of the same messages under
# another file name is refused by protobuf's descriptor pool.
FOREIGN = ("google/", "buf/")

_NOWHERE: Mapping[str, str] = MappingProxyType({})


def is_own(name: str) -> bool:
    """Whether the proto file `name` (relative to the root of the protos) is the workspace's."""
    return not name.startswith(FOREIGN)


def renamed(name: str, package: str, homes: Mapping[str, str] = _NOWHERE) -> str:
    """The name of the proto file `name` inside `package`, or inside the one that `homes` names as
    where its code is already."""
    return f"{homes.get(name, package)}/{name}" if is_own(name) else name


def move_into(
    files: FileDescriptorSet, package: str, homes: Mapping[str, str] = _NOWHERE
) -> FileDescriptorSet:
    """A copy of `files` in which every own file, and every import of one, is under its package."""
    moved = type(files)()
    moved.CopyFrom(files)
    for file in moved.file:
        file.name = renamed(file.name, package, homes)
        file.dependency[:] = [renamed(name, package, homes) for name in file.dependency]
        for extension in file.extension:
            _drop_default_json_name(extension)
        for message in file.message_type:
            _drop_default_json_names(message)
    return moved


def _drop_default_json_names(message: DescriptorProto) -> None:
    for field in (*message.field, *message.extension):
        _drop_default_json_name(field)
    for nested in message.nested_type:
        _drop_default_json_names(nested)


def _drop_default_json_name(field: FieldDescriptorProto) -> None:
    """protoc writes out even the default JSON name into a set, but not into generated code: with
    it, this file and a copy that somebody built directly would differ, and clash in the pool."""
    if field.json_name == default_json_name(field.name):
        field.ClearField("json_name")


def default_json_name(name: str) -> str:
    """The JSON name that protobuf gives the field `name`: `first_name` -> `firstName`."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
