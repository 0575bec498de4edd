"""What a host writes down of a cluster: whose it is, its lock, its journal, its releases, its
hosts, its secrets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from dctl.hosts.base import Books, Holder, Json, Lease
from dctl.hosts.state import journal, lock
from dctl.hosts.state.files import (
    private_folder,
    read_json,
    remove_tree,
    write_json,
    write_whole,
)
from dctl.hosts.state.folder import StateFolder
from dctl.hosts.state.owner import Owner

_RELEASES = 10  # that are kept; each holds all files of a spec


class Kept(Books, Protocol):
    """The books of a cluster, wherever they are."""

    def claim(self) -> None:
        """Make the place for them, and note whose it is."""

    def forget(self) -> None:
        """Remove all of it."""


class Keeping:
    """What is kept of one cluster in `folder`, on behalf of `owner`."""

    def __init__(self, folder: StateFolder, owner: Owner) -> None:
        self._folder = folder
        self._owner = owner

    def claim(self) -> None:
        """Make the state folder, and note whose it is."""
        self._owner.refuse_another_checkout()
        private_folder(self._folder.state)
        owner = {"cluster": self._owner.cluster, "workspace": str(self._owner.workspace)}
        if read_json(self._folder.owner) != owner:
            write_json(self._folder.owner, owner)

    def keep_secret(self, name: str, text: str = "") -> None:
        """Keep `text` under that name, else something random that is made once."""
        self.claim()
        kept = self.secret(name)
        wanted = text or kept or secrets.token_urlsafe(32)
        if wanted != kept:
            path = self._folder.secret(name)
            private_folder(path.parent)
            write_whole(path, wanted)

    def secret(self, name: str) -> str:
        """A secret that is kept; "" when there is none."""
        try:
            return self._folder.secret(name).read_text("utf-8")
        except FileNotFoundError:
            return ""

    @contextmanager
    def lock(self, holder: str) -> Iterator[Lease]:
        """The cluster's apply lock; LockedError names who has it already."""
        self.claim()
        with lock.exclusive(self._folder.lock, holder, self._owner.cluster) as lease:
            yield lease

    def holder(self) -> Holder | None:
        """Who has the lock now."""
        return lock.holder(self._folder.lock)

    def break_lock(self) -> None:
        """Take it from whoever has it."""
        self._owner.refuse_another_checkout()
        lock.release(self._folder.lock)

    def record(self, entry: Mapping[str, Json]) -> None:
        """Append one entry to the journal, durably."""
        self.claim()
        journal.append(self._folder.journal, entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        """The entries of the journal, oldest first."""
        return journal.entries(self._folder.journal)

    def keep_release(self, release: Mapping[str, Json]) -> None:
        """Keep it under its number; the oldest go when there are many."""
        self.claim()
        private_folder(self._folder.releases)
        write_json(self._folder.releases / f"{release['id']:08}.json", release)
        for old in self._release_files()[:-_RELEASES]:
            old.unlink(missing_ok=True)

    def releases(self) -> Sequence[Mapping[str, Json]]:
        """What was kept, oldest first."""
        found = (read_json(path) for path in self._release_files())
        return [release for release in found if release]

    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        """Keep how each host is reached, instead of what was kept."""
        self.claim()
        write_json(self._folder.machines, notes)

    def machines(self) -> Mapping[str, Json]:
        """What was kept of the hosts."""
        return read_json(self._folder.machines) or {}

    def _release_files(self) -> list[Path]:
        return sorted(self._folder.releases.glob("[0-9]*.json"))

    def forget(self) -> None:
        """Remove the state folder with all that any runtime keeps there."""
        remove_tree(self._folder.state)
        with suppress(OSError):  # other clusters are in there
            self._folder.state.parent.rmdir()
