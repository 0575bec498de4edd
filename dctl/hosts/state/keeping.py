"""What a host writes down of a cluster: whose it is, its lock, its journal, its secrets."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dctl.hosts.base import Json
from dctl.hosts.state import journal
from dctl.hosts.state.files import private_folder, read_json, write_json, write_whole
from dctl.hosts.state.folder import StateFolder
from dctl.hosts.state.lock import exclusive
from dctl.hosts.state.owner import Owner


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

    def keep_secret(self, name: str) -> None:
        """Make a random secret of that name, once."""
        self.claim()
        path = self._folder.secret(name)
        if not path.exists():
            private_folder(path.parent)
            write_whole(path, secrets.token_urlsafe(32))

    @contextmanager
    def lock(self, holder: str) -> Iterator[None]:
        """The cluster's apply lock; LockedError names who has it already."""
        self.claim()
        with exclusive(self._folder.lock, holder, self._owner.cluster):
            yield

    def record(self, entry: Mapping[str, Json]) -> None:
        """Append one entry to the journal, durably."""
        self.claim()
        journal.append(self._folder.journal, entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        """The entries of the journal, oldest first."""
        return journal.entries(self._folder.journal)

    def forget(self) -> None:
        """Remove the state folder with all that any runtime keeps there."""
        remove_tree(self._folder.state)
        with suppress(OSError):  # other clusters are in there
            self._folder.state.parent.rmdir()


def remove_tree(path: Path) -> None:
    """Remove a folder that may not be there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
