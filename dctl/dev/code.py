"""Whether code compiles, and which changes of files concern whom."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dctl.sources import code_files
from dctl.spec.problems import Problem, Source, Span

_SKIPPED = {"__pycache__", ".venv", "node_modules"}
_CODE = (".py", ".pyi")
# Code, configuration, templates: what a service itself writes into its folder (a database, a log)
# must not start it anew.
_READ = {".yaml", ".yml", ".toml", ".ini", ".cfg", ".json", ".sql", *_CODE}
_READ |= {".html", ".jinja", ".j2", ".css", ".js"}


def problems(folders: Iterable[Path]) -> list[str]:
    """What keeps the Python files of these folders from being compiled, as printable blocks."""
    found = []
    for folder in folders:
        for file in code_files(folder) if folder.is_dir() else ():
            if file.suffix == ".py" and (problem := _problem(file)):
                found.append(str(problem))
    return found


def concerned(changed: Iterable[str], folders: Mapping[str, Iterable[Path]]) -> set[str]:
    """The services one of whose folders has a changed file of code or configuration."""
    paths = [Path(path) for path in changed]
    return {
        name
        for name, own in folders.items()
        if any(_counts(path, folder) for path in paths for folder in own)
    }


def only_code(changed: Iterable[str]) -> bool:
    """Whether nothing but Python was changed: what the service is told stays the same."""
    return all(path.endswith(_CODE) for path in changed)


def _counts(path: Path, folder: Path) -> bool:
    if not path.is_relative_to(folder):
        return False
    parts = path.relative_to(folder).parts
    return path.suffix in _READ and not any(
        part in _SKIPPED or part.startswith(".") for part in parts
    )


def _problem(file: Path) -> Problem | None:
    name = os.path.relpath(file)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None  # it was removed meanwhile
    except UnicodeDecodeError as error:
        return Problem(Span(Source(name)), f"is no text in UTF-8: {error.reason}")
    try:
        compile(text, name, "exec", dont_inherit=True)
    except SyntaxError as error:
        line, column = (error.lineno or 1) - 1, max((error.offset or 1) - 1, 0)
        return Problem(Span(Source(name, text), line, column, 1), error.msg)
    except ValueError as error:  # a null byte
        return Problem(Span(Source(name)), str(error))
    return None
