"""Which descriptors let a route be called with JSON.

The chassis stores its service's FileDescriptorSet in Blueprint under the service's full name. A
set that does not hold together would be refused by every proxy, so it is checked on arrival.
"""

from __future__ import annotations

import graphlib
import importlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import DecodeError

log = logging.getLogger(__name__)

WELL_KNOWN = "google/protobuf/"
WELL_KNOWN_FILES = {
    *("any", "api", "descriptor", "duration", "empty", "field_mask"),
    *("source_context", "struct", "timestamp", "type", "wrappers"),
}


@dataclass(frozen=True, slots=True)
class Transcoding:
    """Services that can be called with JSON, and the serialized FileDescriptorSet of all."""

    services: tuple[str, ...]
    files: bytes


def checked(service: str, raw: bytes) -> bytes:
    """The set without source comments and with the well-known types that it imports; ValueError
    when the service cannot be built from it."""
    try:
        given = FileDescriptorSet.FromString(raw)
    except DecodeError:
        raise ValueError("not a FileDescriptorSet") from None
    files = {file.name: file for file in given.file}
    waiting = list(files.values())
    while waiting:
        for needed in waiting.pop().dependency:
            if needed not in files and (file := _well_known(needed)) is not None:
                files[needed] = file
                waiting.append(file)
    imports = {name: sorted(file.dependency) for name, file in sorted(files.items())}
    pool = descriptor_pool.DescriptorPool()
    ordered = FileDescriptorSet()
    try:
        for name in graphlib.TopologicalSorter(imports).static_order():
            file = ordered.file.add()
            file.CopyFrom(files[name])
            file.ClearField("source_code_info")
            pool.AddSerializedFile(file.SerializeToString())
        pool.FindServiceByName(service)
    except (KeyError, TypeError, graphlib.CycleError) as error:
        raise ValueError(f"{service} cannot be built from it: {error}") from None
    return ordered.SerializeToString(deterministic=True)


def transcoding(prefix: str, descriptors: Mapping[str, bytes]) -> Transcoding | None:
    """What a route with this prefix can transcode: `/pkg.Svc/...` its service; a prefix that covers
    several services (`/`, `/pkg.`) all of them whose files agree."""
    segment, slash, _ = prefix[1:].partition("/")
    if slash or not (prefix == "/" or prefix.endswith(".")):
        found = [segment] if segment in descriptors else []
    else:
        found = sorted(name for name in descriptors if f"/{name}/".startswith(prefix))
    if not found:
        return None
    if len(found) == 1:
        return Transcoding((found[0],), descriptors[found[0]])
    return _merged(prefix, {name: descriptors[name] for name in found})


def _merged(prefix: str, descriptors: Mapping[str, bytes]) -> Transcoding:
    files: dict[str, FileDescriptorProto] = {}
    services: list[str] = []
    for service, raw in descriptors.items():
        own = FileDescriptorSet.FromString(raw).file
        if all(files.get(file.name, file) == file for file in own):
            files.update((file.name, file) for file in own if file.name not in files)
            services.append(service)
        else:
            log.info("no JSON for %s on %s: another service has other files", service, prefix)
    merged = FileDescriptorSet(file=files.values())
    return Transcoding(tuple(services), merged.SerializeToString(deterministic=True))


def _well_known(name: str) -> FileDescriptorProto | None:
    """The file of a well-known type; these are often left out of a set."""
    module = name.removeprefix(WELL_KNOWN).removesuffix(".proto")
    if name != f"{WELL_KNOWN}{module}.proto" or module not in WELL_KNOWN_FILES:
        return None
    file = FileDescriptorProto()
    importlib.import_module(f"google.protobuf.{module}_pb2").DESCRIPTOR.CopyToProto(file)
    return file
