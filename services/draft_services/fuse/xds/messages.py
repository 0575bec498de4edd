"""Envoy's message classes, in a descriptor pool of their own.

A private pool, because the packages that carry these definitions overwrite files of others and
because classes are made only when asked for. The classes are dynamic, so they are typed Any; their
constructors take nested dicts, which lets the translation read like Envoy's own configuration.
"""

from __future__ import annotations

import functools
import lzma
from importlib import resources
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

TYPE_PREFIX = "type.googleapis.com/"


@functools.cache
def _pool() -> DescriptorPool:
    packed = resources.files(__package__).joinpath("descriptors.binpb.xz").read_bytes()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(lzma.decompress(packed)).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


@functools.cache
def message(name: str) -> Any:
    """The class of a message, by its full name."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


def packed(value: Any) -> dict[str, Any]:
    """The fields of a google.protobuf.Any that holds `value`."""
    return {"type_url": TYPE_PREFIX + value.DESCRIPTOR.full_name, "value": serialized(value)}


def serialized(value: Any) -> bytes:
    """The same bytes for equal messages: versions are made of them."""
    return bytes(value.SerializeToString(deterministic=True))
