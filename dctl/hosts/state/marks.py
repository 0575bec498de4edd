"""What dctl itself stopped: the one thing about a container that its engine cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

from dctl.hosts.state.files import private_folder, remove_tree, write_whole

# Held by `dctl infra stop`, and that is no drift; or down with all the rest.
Mark = Literal["held", "down"]


class Marks(Protocol):
    """Marks by the names of instances."""

    def all(self) -> Mapping[str, str]:
        """All that are set."""

    def set(self, instance: str, mark: Mark) -> None:
        """Set one."""

    def clear(self, instance: str) -> None:
        """Take one away, if it is set."""

    def forget(self) -> None:
        """Take all away."""


class FileMarks:
    """One small file an instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self) -> Mapping[str, str]:
        return {file.name: file.read_text("utf-8") for file in self._folder.glob("[!.]*")}

    def set(self, instance: str, mark: Mark) -> None:
        private_folder(self._folder)
        write_whole(self._folder / instance, mark)

    def clear(self, instance: str) -> None:
        (self._folder / instance).unlink(missing_ok=True)

    def forget(self) -> None:
        remove_tree(self._folder)
