"""Backups through Blueprint: what the engine keeps into a file, and back.

with blueprint(way) as core:
    take(core, path, cluster="shop", nonce=nonce)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctl.archive import Manifest, Reader, Writer, reading, writing
from dctl.clients import Connection, Way, connect
from dctl.errors import DctlError, UnreachableError, WaitTimeoutError

if TYPE_CHECKING:
    from draft_api.core.registry.backup.v1 import service_pb2 as pb
    from draft_api.core.registry.backup.v1 import service_pb2_grpc as rpc

_CALL = 10.0  # seconds for what is answered at once
_AGAIN = 0.2


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A Blueprint that is reached."""

    connection: Connection
    stub: rpc.BackupServiceStub

    def describe(self, nonce: str) -> pb.DescribeResponse:
        """What is there now."""
        from draft_api.core.registry.backup.v1 import service_pb2 as pb

        return self.connection.call(self.stub.Describe, pb.DescribeRequest(nonce=nonce))

    def accept_loss(self, nonce: str) -> list[str]:
        """Go on without what is lost; the streams that were damaged."""
        from draft_api.core.registry.backup.v1 import service_pb2 as pb

        request = pb.AcceptLossRequest(nonce=nonce)
        return list(self.connection.call(self.stub.AcceptLoss, request).streams)


@contextmanager
def blueprint(way: Way) -> Iterator[Blueprint]:
    """The Blueprint that is reached so."""
    from draft_api.core.registry.backup.v1 import service_pb2_grpc as rpc

    with connect("Blueprint", way, timeout=_CALL) as connection:
        yield Blueprint(connection, connection.stub(rpc.BackupServiceStub))


def take(
    core: Blueprint,
    path: Path,
    *,
    cluster: str,
    nonce: str,
    timeout: float,
    replace: bool = False,
    hold: bool = False,
) -> None:
    """Write a backup to `path`. With `hold` that Blueprint refuses writes until it ends, or for a
    minute."""
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    with writing(path, replace=replace) as backup:
        made = datetime.now(UTC).isoformat(timespec="seconds")
        with core.connection.translated():
            call = core.stub.Create(pb.CreateRequest(nonce=nonce, hold=hold), timeout=timeout)
            try:
                parts = iter(call)
                versions = next(parts).versions
                for part in parts:
                    _take(backup, part.stream, parts)
            finally:
                call.cancel()
        backup.finish(Manifest(cluster, made, versions.draft, versions.engine))


def restore(core: Blueprint, backup: Reader, *, nonce: str, timeout: float) -> None:
    """Replace what is there by a backup, which was checked."""
    with core.connection.translated():
        core.stub.Restore(_requests(backup, nonce), timeout=timeout)


def wait(way: Callable[[], Way], nonce: str, deadline: float) -> None:
    """Return once Blueprint has begun anew and serves what was restored."""
    while True:
        try:
            with blueprint(way()) as core:
                if not core.describe(nonce).awaits_data:
                    return
                error: DctlError = UnreachableError("it has not begun anew yet")
        except (UnreachableError, WaitTimeoutError) as failure:
            error = failure
        if time.monotonic() > deadline:
            raise WaitTimeoutError(
                f"the backup is restored, but Blueprint is not back: {error.message}",
                hint="dctl infra status",
            ) from error
        time.sleep(_AGAIN)


def is_still(path: Path, now: pb.DescribeResponse) -> bool:
    """Whether nothing was written since the backup at `path` was taken."""
    with reading(path) as backup:
        kept = {s.name: _last(s.state) for s in backup.manifest().streams if not s.live}
    return kept == {s.name: _last(json.loads(s.state)) for s in now.streams if not s.live}


def _last(state: Mapping[str, Any]) -> int:
    return int(state["last_seq"])


def _take(backup: Writer, stream: pb.Stream, parts: Iterator[pb.CreateResponse]) -> None:
    """Write one stream's content; raises DctlError unless all of it came."""
    end: list[pb.End] = []

    def content() -> Iterator[bytes]:
        for part in parts:
            if part.WhichOneof("part") == "end":
                end.append(part.end)
                return
            yield part.chunk

    config, state = json.loads(stream.config), json.loads(stream.state)
    taken = backup.add(stream.name, config, state, content(), live=stream.live)
    if not end or (taken.size, taken.sha256) != (end[0].size, end[0].sha256.hex()):
        raise DctlError(f"the content of {stream.name} did not arrive whole", hint="try again")


def _requests(backup: Reader, nonce: str) -> Iterator[pb.RestoreRequest]:
    from draft_api.core.registry.backup.v1 import service_pb2 as pb

    yield pb.RestoreRequest(nonce=nonce)
    for stream, content in backup.contents():
        sent = not stream.live
        if sent:
            config, state = json.dumps(stream.config), json.dumps(stream.state)
            yield pb.RestoreRequest(stream=pb.Stream(name=stream.name, config=config, state=state))
        for chunk in content:
            if sent:
                yield pb.RestoreRequest(chunk=chunk)
        if sent:
            end = pb.End(sha256=bytes.fromhex(stream.sha256), size=stream.size)
            yield pb.RestoreRequest(end=end)
