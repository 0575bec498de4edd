"""Files for a container that has not started yet: readable by the user that it runs as alone.

Secrets lie in a volume that has no name and ends with the container, so that no image made of the
container, no export and no layer of it has them. Where one is asked for at another path, that path
is a link.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType

from dctl.errors import DctlError
from dctl.hosts.docker.client import Engine
from dctl.hosts.docker.spec import lies


def deliver(
    engine: Engine, container: str, files: Mapping[str, str], user: str, *, shared: bool = False
) -> None:
    """Write `files` (absolute path -> content), with mode 0600 and owned by `user`. What is
    `shared` may be read by everybody in the container if that user is root: images that begin as
    root go on as somebody else, and read their secrets as that one."""
    if not files:
        return
    named = not all(part.isdecimal() for part in user.split(":")) or ":" not in user
    passwd = engine.read(container, "/etc/passwd") if user and named else ""
    group = engine.read(container, "/etc/group") if user and named else ""
    uid, gid = owner(user, passwd, group)
    missing = [folder for folder in folders(files) if not engine.has(container, folder)]
    mode = 0o444 if shared and uid == 0 else 0o600
    engine.put(container, archive(files, missing, uid, gid, mode))


def deliver_secrets(
    engine: Engine, container: str, secrets: Mapping[str, str], user: str, *, shared: bool = False
) -> None:
    """The same for secrets (the path where each is asked for -> its text)."""
    deliver(
        engine, container, {lies(path): text for path, text in secrets.items()}, user, shared=shared
    )
    links = {path: lies(path) for path in secrets if lies(path) != path}
    if links:
        missing = [folder for folder in folders(links) if not engine.has(container, folder)]
        engine.put(container, archive({}, missing, 0, 0, links=links))


def folders(files: Iterable[str]) -> list[str]:
    """Every folder that the files stand in, the outer before the inner."""
    found = {str(parent) for path in files for parent in PurePosixPath(path).parents}
    return sorted(found - {"/"})


def archive(
    files: Mapping[str, str],
    missing: Iterable[str],
    uid: int,
    gid: int,
    mode: int = 0o600,
    *,
    links: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """A tar for "/". Only folders that are not there yet are in it: those that are keep their
    owner and mode. `links` are paths and what they lead to."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for folder in missing:
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for path, text in sorted(files.items()):
            content = text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(content), mode, uid, gid
            tar.addfile(entry, io.BytesIO(content))
        for path, target in sorted(links.items()):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return made.getvalue()


def owner(user: str, passwd: str, group: str) -> tuple[int, int]:
    """The numbers of "user", "user:group" or either as numbers; `passwd` and `group` are the
    contents of the image's files of that name."""
    name, _, group_name = user.partition(":")
    if not name:
        return 0, 0
    users = [line.split(":") for line in passwd.splitlines() if line.count(":") >= 3]
    known = next((u for u in users if name in (u[0], u[2])), None)
    if known is None and not name.isdecimal():
        raise DctlError(f'the image has no user "{name}"', hint="give its number, as in 1000:1000")
    uid = int(known[2]) if known else int(name)
    if not group_name:
        return uid, int(known[3]) if known else 0
    if group_name.isdecimal():
        return uid, int(group_name)
    groups = [line.split(":") for line in group.splitlines() if line.count(":") >= 2]
    for one in groups:
        if one[0] == group_name:
            return uid, int(one[2])
    raise DctlError(f'the image has no group "{group_name}"', hint="give its number")
