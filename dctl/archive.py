"""A backup as a file: tar in Zstandard. First ``manifest.json``, then each stream's content.

It is written beside its place, readable by its owner alone, and renamed when it is whole. Of a
stream never more than a chunk is in memory; while a backup is made, contents wait on the disk,
because a tar tells the length of a file in front of it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dctl.errors import DctlError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

FORMAT = 1
CHUNK = 256 * 1024
_MANIFEST, _STREAMS = "manifest.json", "streams/"
_LONGEST_MANIFEST = 16 << 20
_BUFFER = 1 << 20
_DAMAGED = (zstd.ZstdError, tarfile.TarError, EOFError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Stream:
    """What a backup tells of one stream; `live`: it is for the record and is not restored."""

    name: str
    live: bool
    config: Mapping[str, Any]
    state: Mapping[str, Any]
    size: int
    chunks: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup tells of itself."""

    cluster: str
    created: str
    draft: str
    engine: str
    streams: tuple[Stream, ...] = ()
    format: int = FORMAT

    def encode(self) -> bytes:
        """As it lies in the file."""
        return json.dumps(asdict(self), indent=2).encode()

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """From what lies in the file; raises DctlError for a format of the future."""
        raw = json.loads(text)
        if raw["format"] != FORMAT:
            raise DctlError(
                f"this backup has format {raw['format']}, and this dctl knows {FORMAT} only",
                hint="use the dctl that made it, or a newer one",
            )
        streams = tuple(Stream(**_known(Stream, each)) for each in raw["streams"])
        return cls(**{**_known(cls, raw), "streams": streams})


class Writer:
    """Takes in streams one after the other; see `writing`."""

    def __init__(self, path: Path, waiting: IO[bytes]) -> None:
        self._path = path
        self._waiting = waiting
        self._streams: list[Stream] = []

    def add(
        self,
        name: str,
        config: Mapping[str, Any],
        state: Mapping[str, Any],
        content: Iterator[bytes],
        *,
        live: bool = False,
    ) -> Stream:
        """The next stream."""
        digest, size, chunks = hashlib.sha256(), 0, 0
        for chunk in content:
            self._waiting.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            chunks += 1
        stream = Stream(name, live, config, state, size, chunks, digest.hexdigest())
        self._streams.append(stream)
        return stream

    def finish(self, manifest: Manifest) -> None:
        """Put the file in its place, with `manifest` and the streams that were added."""
        manifest = Manifest(**{**_fields(manifest), "streams": tuple(self._streams)})
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}.part")
        try:
            with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as f:
                self._write(f, manifest)
                f.flush()
                os.fsync(f.fileno())
            beside.replace(self._path)
        finally:
            beside.unlink(missing_ok=True)

    def _write(self, file: IO[bytes], manifest: Manifest) -> None:
        options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
        self._waiting.seek(0)
        with (
            zstd.ZstdFile(file, "wb", options=options) as packed,
            tarfile.open(
                fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=_BUFFER
            ) as tar,
        ):
            text = manifest.encode()
            tar.addfile(_member(_MANIFEST, len(text)), io.BytesIO(text))
            for stream in manifest.streams:  # they lie one behind the other
                tar.addfile(_member(_STREAMS + stream.name, stream.size), self._waiting)


@contextmanager
def writing(path: Path, *, replace: bool = False) -> Iterator[Writer]:
    """A backup that becomes `path` when `Writer.finish` is called."""
    if path.exists() and not replace:
        raise DctlError(f"{path} is there already", hint="name another file, or add --force")
    if not path.parent.is_dir():
        raise DctlError(f"{path.parent} is no folder")
    with tempfile.TemporaryFile(dir=path.parent) as waiting:
        yield Writer(path, waiting)


class Reader:
    """A backup that was opened; see `reading`."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._file = file

    def manifest(self) -> Manifest:
        """What it tells of itself; nothing else is read."""
        with self._tar() as (tar, _):
            return self._manifest(tar)

    def check(self) -> Manifest:
        """Read all of it; raises DctlError unless it is whole and as it was written."""
        with self._tar() as (tar, packed):
            manifest = self._manifest(tar)
            for stream in manifest.streams:
                for _ in self._content(tar, stream):
                    pass
            while packed.read(CHUNK):  # the checksum of everything lies at the very end
                pass
        return manifest

    def contents(self) -> Iterator[tuple[Stream, Iterator[bytes]]]:
        """Each stream with its content, chunk by chunk, which has to be read to its end."""
        with self._tar() as (tar, _):
            for stream in self._manifest(tar).streams:
                yield stream, self._content(tar, stream)

    @contextmanager
    def _tar(self) -> Iterator[tuple[tarfile.TarFile, zstd.ZstdFile]]:
        self._file.seek(0)
        try:
            with (
                zstd.ZstdFile(self._file, "rb") as packed,
                tarfile.open(fileobj=packed, mode="r|", bufsize=_BUFFER) as tar,
            ):
                yield tar, packed
        except _DAMAGED as error:
            raise self._damaged(str(error) or type(error).__name__) from error

    def _manifest(self, tar: tarfile.TarFile) -> Manifest:
        member = tar.next()
        content = tar.extractfile(member) if member and member.name == _MANIFEST else None
        if member is None or content is None or member.size > _LONGEST_MANIFEST:
            raise self._damaged("it does not begin with a manifest")
        return Manifest.decode(content.read())

    def _content(self, tar: tarfile.TarFile, stream: Stream) -> Iterator[bytes]:
        member = tar.next()
        content = tar.extractfile(member) if member else None
        if member is None or content is None or member.name != _STREAMS + stream.name:
            raise self._damaged(f"the content of {stream.name} is missing")
        digest, size = hashlib.sha256(), 0
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            yield chunk
        if (size, digest.hexdigest()) != (stream.size, stream.sha256):
            raise self._damaged(f"the content of {stream.name} is not what was written")

    def _damaged(self, why: str) -> DctlError:
        return DctlError(f"{self._path} is no backup, or is damaged: {why}")


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """The backup at `path`."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise DctlError(f"{path}: {error.strerror}") from error
    with file:
        yield Reader(path, file)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


def _known(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in raw.items() if name in names}


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}
