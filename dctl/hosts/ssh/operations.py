"""The steps that a worker can carry out, as pyinfra's operations and two of our own.

Imported by the worker alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from typing import Any

from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.context import host
from pyinfra.facts.files import Sha256File
from pyinfra.operations import apt, files, server, systemd

from dctl.hosts.ssh import whole


@operation()
def written(wanted: list[dict[str, Any]], known: dict[str, str] | None = None) -> Iterator[Any]:
    """Many small files in one go, each whole or not at all, with its final mode from the first
    byte on; no content on any command line. `known` are digests that were just read."""
    changed = [file for file in wanted if (known or {}).get(file["path"]) != whole.stamp(file)]
    if changed:
        yield StringCommand(
            "python3", "-c", QuoteString(whole.source()), _stdin=json.dumps(changed)
        )


@operation()
def unpacked(archive: str, sha256: str, folder: str) -> Iterator[Any]:
    """A tar of this machine's, unpacked into a new folder that is there whole or not at all."""
    from pyinfra.api import FileUploadCommand
    from pyinfra.facts.files import Directory

    if host.get_fact(Directory, folder):
        return
    uploaded = host.get_temp_filename(sha256)
    if host.get_fact(Sha256File, uploaded) != sha256:
        yield FileUploadCommand(archive, uploaded)
    draft = f"{folder}.new"
    bits = (QuoteString(draft), QuoteString(uploaded), QuoteString(folder))
    yield StringCommand("rm", "-rf", bits[0])
    yield StringCommand("mkdir", "-p", "-m", "755", bits[0])
    yield StringCommand("tar", "-xzf", bits[1], "-C", bits[0], "--no-same-owner")
    yield StringCommand("mv", "-T", bits[0], bits[2])
    yield StringCommand("rm", "-f", bits[1])


def _put(*, content: str, **arguments: Any) -> Any:
    return files.put(src=StringIO(content), **arguments)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "apt.packages": apt.packages,
    "files.directory": files.directory,
    "files.file": files.file,
    "files.put": _put,
    "server.group": server.group,
    "server.user": server.user,
    "server.shell": server.shell,
    "systemd.daemon_reload": systemd.daemon_reload,
    "systemd.service": systemd.service,
    "written": written,
    "unpacked": unpacked,
}
