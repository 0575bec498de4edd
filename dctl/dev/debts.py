"""What a run has to put back at its end, written down before it is taken.

Each run has a file in the cluster's state folder and holds a lock on it, which goes with its last
process. So a run that was cut off altogether is known, and the next one (or another that goes on)
takes over what it owed.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctl.hosts.state.files import private_folder, read_json, write_json

_GUARD = ".guard"


@dataclass(slots=True)
class Debts:
    """`spec` is the cluster as it was opened (see `lend.snapshot`). `up` are the names of what
    ran before, `there` of all that was there. `raised`: the parts that may be raised for it.
    `lent`: of each service, the instances that ran (`ran`) and, as a resource, the one that the
    run's own stands in for (`before`; null: there was none); `routes` that were not there.
    `throwaway`: nothing of the cluster is to stay, nor this folder."""

    spec: Mapping[str, Any]
    up: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    raised: list[str] = field(default_factory=list)
    lent: dict[str, Any] = field(default_factory=dict)
    throwaway: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class Book:
    """The debts of one run. Whoever has `descriptor` open keeps it alive."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def begin(cls, folder: Path) -> Book:
        """A new one, which is ours."""
        private_folder(folder)
        path = folder / f"{uuid.uuid4().hex[:12]}.run"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    def write(self, debts: Debts) -> None:
        # Beside the file that is locked: to replace that one would lose the lock.
        write_json(self._text, debts.to_json())

    def read(self) -> Debts | None:
        said = read_json(self._text)
        return Debts(**said) if said else None

    def end(self) -> None:
        """All is put back."""
        self._text.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self.descriptor)
        with suppress(OSError):  # another run is there
            (self.path.parent / _GUARD).unlink(missing_ok=True)
            self.path.parent.rmdir()

    def change(self, how: Callable[[Debts], None]) -> None:
        """Another run may add to it, so what stands in the file is changed, by one at a time."""
        with alone(self.path.parent):
            debts = self.read()
            assert debts is not None
            how(debts)
            self.write(debts)

    @property
    def _text(self) -> Path:
        return self.path.with_suffix(".json")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One run at a time looks who else is there."""
    private_folder(folder)
    guard = os.open(folder / _GUARD, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def others(folder: Path, own: Path | None = None) -> tuple[list[Book], list[Book]]:
    """The runs that go on, and those that were cut off; the latter are ours now."""
    alive, cut_off = [], []
    for path in sorted(folder.glob("*.run")):
        if path == own:
            continue
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        book = Book(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            cut_off.append(book)
        except BlockingIOError:
            os.close(descriptor)
            alive.append(book)
    return alive, cut_off
