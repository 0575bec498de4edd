"""Migrations of a database: numbered .sql files of a folder, applied once each, in order. Pure.

    migrations/0001_names.sql
    migrations/0002_notes.sql

A file that was applied is not to be edited: another one follows. So a digest of each is kept.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chassis.errors import ChassisError

_NAME = re.compile(r"(\d{1,9})_[A-Za-z0-9_-]+\.sql", re.ASCII)


class MigrationError(ChassisError):
    """The database cannot be brought to what the code needs; trying again will not help."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `digest` is of its text."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self) -> Iterator[str]:
        """One after the other, for a database that takes no more at a time."""
        held = ""
        for piece in re.split(r"(?<=;)", self.text):
            held += piece
            if sqlite3.complete_statement(held):
                if _says_something(held):
                    yield held.strip()
                held = ""
        if _says_something(held):
            yield held.strip()


def read(folder: Path) -> list[Migration]:
    """Those of a folder, in order. Raises MigrationError for a name that has no number, or one that
    another file has."""
    if not folder.is_dir():
        raise MigrationError(f"there is no folder of migrations: {folder}")
    found: dict[int, Migration] = {}
    for file in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise MigrationError(f"{file}: call it NUMBER_name.sql, such as 0001_names.sql")
        number = int(match[1])
        if number in found:
            raise MigrationError(f"{file}: {found[number].name} has the number {number}, too")
        found[number] = Migration(number, file.name, file.read_text(encoding="utf-8"))
    return [found[number] for number in sorted(found)]


def outstanding(all_: Iterable[Migration], applied: Mapping[int, str]) -> list[Migration]:
    """What is to be applied to a database that had those of `applied`, by number with their digest.
    Raises MigrationError when one was edited since, or would come after one with a higher number.
    What a newer version of the code has applied is not our business."""
    last = max(applied, default=0)
    todo = []
    for migration in all_:
        digest = applied.get(migration.number)
        if digest is None and migration.number < last:
            raise MigrationError(
                f"{migration.name} comes too late: {last} is applied already; number it higher"
            )
        if digest is None:
            todo.append(migration)
        elif digest != migration.digest:
            raise MigrationError(
                f"{migration.name} was edited after it was applied: put it back, and add another"
            )
    return todo


def _says_something(text: str) -> bool:
    plain = re.sub(r"--[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    return bool(plain.strip(" \t\r\n;"))
