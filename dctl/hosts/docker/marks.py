"""What dctl itself stopped: the one thing about a container that its engine cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dctl.hosts.state.files import private_folder, write_whole

# Held by `dctl infra stop`, and that is no drift; or down with all the rest.
Mark = Literal["held", "down"]


class Marks:
    """One small file an instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, instance: str) -> str:
        """The mark, "" when there is none."""
        try:
            return (self._folder / instance).read_text("utf-8")
        except FileNotFoundError:
            return ""

    def set(self, instance: str, mark: Mark) -> None:
        private_folder(self._folder)
        write_whole(self._folder / instance, mark)

    def clear(self, instance: str) -> None:
        (self._folder / instance).unlink(missing_ok=True)
