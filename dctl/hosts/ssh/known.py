"""The host keys that the user has accepted: a known_hosts file of dctl's own.

ssh's own file would also hold what somebody typed "yes" to in a hurry. The comment of each line
is the name under which the host was added, and its address.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dctl.hosts.state.files import private_folder, write_whole
from dctl.hosts.state.folder import config_dir


@dataclass(frozen=True, slots=True)
class HostKey:
    """The key of a machine. `place` is "host" or "[host]:port", as OpenSSH writes it; `address` is
    the [user@]host[:port] that it was added with."""

    place: str
    type: str
    key: str
    name: str = ""
    address: str = ""

    @property
    def fingerprint(self) -> str:
        """As ssh and ssh-keygen show it."""
        return fingerprint(self.key)

    def line(self) -> str:
        return f"{self.place} {self.type} {self.key} {self.name} {self.address}".rstrip()

    @classmethod
    def of(cls, line: str) -> HostKey | None:
        """One line of a known_hosts file; None for any other."""
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith(("#", "@")):
            return None
        try:
            base64.b64decode(fields[2], validate=True)
        except binascii.Error:
            return None
        name, address = (*fields[3:5], "", "")[:2]
        return cls(fields[0], fields[1], fields[2], name, address)


def fingerprint(key: str) -> str:
    """The SHA256 fingerprint of a key in base64."""
    digest = hashlib.sha256(base64.b64decode(key)).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def place(host: str, port: int) -> str:
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """The file, read anew each time: several dctl may be at work."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_dir() / "known_hosts"

    def all(self) -> list[HostKey]:
        """All of them, by name and place."""
        found = [HostKey.of(line) for line in self._lines()]
        return sorted((k for k in found if k), key=lambda k: (k.name, k.place))

    def at(self, place: str) -> HostKey | None:
        return next((key for key in self.all() if key.place == place), None)

    def add(self, key: HostKey) -> None:
        """Store it, instead of any other key for the same place or under the same name."""
        with self._changing():
            self._write([*self._without(key.name, key.place), key.line()])

    def remove(self, name: str) -> list[HostKey]:
        """Forget what was added under a name, or for a place; what that was."""
        with self._changing():
            gone = [key for key in self.all() if name in (key.name, key.place)]
            if gone:
                self._write([line for line in self._lines() if HostKey.of(line) not in gone])
        return gone

    def _without(self, name: str, place: str) -> list[str]:
        kept = []
        for line in self._lines():
            known = HostKey.of(line)
            if known is None or (known.place != place and (not name or known.name != name)):
                kept.append(line)
        return kept

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _write(self, lines: list[str]) -> None:
        write_whole(self.path, "".join(f"{line}\n" for line in lines))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        private_folder(self.path.parent)
        descriptor = os.open(
            self.path.with_name(".known_hosts.lock"), os.O_CREAT | os.O_RDWR, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
