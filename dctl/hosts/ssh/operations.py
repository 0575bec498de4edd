"""The steps that a worker can carry out, as pyinfra's operations and two of our own.

Imported by the worker alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import Any

from pyinfra.api import (
    FactBase,
    QuoteString,
    StringCommand,
    operation,
)
from pyinfra.context import host
from pyinfra.facts.files import FindFiles
from pyinfra.operations import apt, files, server, systemd

from dctl.hosts.ssh import whole


class Stamps(FactBase[dict[str, str]]):
    """Content, mode and owner of files, as one word each; nothing for what is not there."""

    def command(self, files: list[dict[str, Any]]) -> StringCommand:
        paths = [QuoteString(file["path"]) for file in files]
        return StringCommand("python3", "-c", QuoteString(whole.source(whole.look)), *paths)

    def process(self, output: Iterable[str]) -> dict[str, str]:
        return dict(json.loads("".join(output)))


@operation()
def written(wanted: list[dict[str, Any]]) -> Iterator[Any]:
    """Many small files in one go, each whole or not at all, with its final mode from the first
    byte on; no content on any command line, and no diff."""
    there = host.get_fact(Stamps, files=wanted)
    changed = [file for file in wanted if there.get(file["path"]) != whole.stamp(file)]
    if changed:
        program = QuoteString(whole.source(whole.write))
        yield StringCommand("python3", "-c", program, _stdin=json.dumps(changed))


@operation()
def swept(folder: str, kept: list[str]) -> Iterator[Any]:
    """No files in a folder but those that are kept (paths in it)."""
    there = host.get_fact(FindFiles, folder) or []
    useless = [path for path in there if path.removeprefix(f"{folder}/") not in kept]
    if useless:
        yield StringCommand("rm", "-f", "--", *map(QuoteString, useless))


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
    "swept": swept,
    "written": written,
}
