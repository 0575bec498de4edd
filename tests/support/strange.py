"""Messages of any type, well-typed and full of what nobody would send: from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.message import Message

TEXTS = (
    *("", " ", "\0", "a\0b", "k", "k ", "a/b", "/", "//", "a//b/", ".", "*", ">", "$KV.keys.>"),
    *("é" * 9, "𐍈", "\u202e", "\r\n\r\n", "HPUB", "leader", "fuse_address", "draft.instance"),
    *("type.googleapis.com/core.registry.key_value.v1.Value", "core.registry.key_value.v1.Value"),
    *("google.protobuf.Any", "type.googleapis.com/google.protobuf.Struct", "data", "holder"),
    *("W10=", "WzFlOTk5LCJhIl0=", "WzEsImsiXQ==", "[", "null", "e30.e30.e30", "{}", "a.b.c"),
)
LONG = ("x" * 255, "x" * 256, "x" * 1025, "é" * 512, "/" * 1024, "\0" * 1024, "y" * 70_000)
NUMBERS: Mapping[int, Sequence[float]] = {
    Field.CPPTYPE_INT32: (0, 1, 2, 7, -1, 1 << 30, (1 << 31) - 1, -(1 << 31)),
    Field.CPPTYPE_INT64: (0, 1, 2, 7, -1, 253402300800, (1 << 63) - 1, -(1 << 63)),
    Field.CPPTYPE_UINT32: (0, 1, 2, 7, 999, (1 << 32) - 1),
    Field.CPPTYPE_UINT64: (0, 1, 2, 7, 999, 1 << 63, (1 << 64) - 1),
    Field.CPPTYPE_FLOAT: (0.0, -1.5, 3.4e38, float("nan"), float("inf"), float("-inf")),
    Field.CPPTYPE_DOUBLE: (0.0, -1.5, 1.7e308, float("nan"), float("inf"), float("-inf")),
    Field.CPPTYPE_ENUM: (0, 1, 2, 3, 4, 5, 99, -1, (1 << 31) - 1),
}
BYTES = (
    *(b"", b"\0", b"\n\1a", b"\n\xff", b"\xff" * 9, b"\x0a\x80\x80\x80\x80\x10", b"\x08\x01"),
    *(b"\n\3" + b"\xff\xfe\xfd", b"\x0b" * 200, bytes(1 << 20), bytes((1 << 20) + 1)),
)
_FEW = 3


class Strange:
    """Makes them. `known`: what is said in a field of that name now and then, so that some of it is
    taken."""

    def __init__(self, seed: int, known: Mapping[str, Callable[[], Any]]) -> None:
        self._random = random.Random(seed)
        self._known = known

    def fill(self, message: Message, depth: int = 0) -> Message:
        """The same message, with some of its fields said."""
        for field in message.DESCRIPTOR.fields:
            if self._random.random() < 0.3 or depth > _FEW:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                self._fill_map(getattr(message, field.name), field.message_type)
            elif field.is_repeated:
                values = getattr(message, field.name)
                for _ in range(self._random.randrange(_FEW)):
                    if field.message_type is not None:
                        self.fill(values.add(), depth + 1)
                    else:
                        values.append(self._plain(field))
            elif field.message_type is not None:
                value = getattr(message, field.name)
                value.SetInParent()
                self.fill(value, depth + 1)
            else:
                setattr(message, field.name, self._plain(field))
        return message

    def _fill_map(self, values: Any, entry: Any) -> None:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for _ in range(self._random.randrange(_FEW)):
            if value.message_type is not None:
                self.fill(values[self._plain(key)])
            else:
                values[self._plain(key)] = self._plain(value)

    def _plain(self, field: Field) -> Any:
        if field.name in self._known and self._random.random() < 0.5:
            return self._known[field.name]()
        if field.cpp_type == Field.CPPTYPE_BOOL:
            return self._random.random() < 0.5
        if field.type == Field.TYPE_BYTES:
            return self._random.choice(BYTES)
        if field.cpp_type == Field.CPPTYPE_STRING:
            return self._random.choice(TEXTS if self._random.random() < 0.9 else LONG)
        return self._random.choice(NUMBERS[field.cpp_type])
