"""Files to trees: each is read once, and all files of one spec share one budget.

Raises nothing: what is wrong with a file is a problem like any other.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from dctl.spec.problems import Problem, Source, Span
from dctl.spec.tree import MAX_BYTES, Budget, Table, parse

MAX_FILES = 100


class Files:
    """The files of one spec; `paths` are those that were read, in that order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.paths: list[Path] = []
        self._problems = problems
        self._budget = Budget()
        self._trees: dict[tuple[str, bool], Table | None] = {}

    def read(
        self, path: Path, *, named: Problem | None = None, overlay: bool = False
    ) -> Table | None:
        """The file's mapping, or None when there is none. `named` is the place where another file
        names this one: if it cannot be read, the mistake is there."""
        key = (str(path.absolute()), overlay)
        if key not in self._trees:
            source = self._source(path, named or Problem(Span(Source(str(path))), ""))
            if isinstance(source, Problem):
                self._problems.append(source)
                return None  # each place that names it is told
            self._trees[key] = parse(source, self._problems, self._budget, overlay=overlay)
        return self._trees[key]

    def _source(self, path: Path, named: Problem) -> Source | Problem:
        """The file's text, or why there is none."""
        if len(self.paths) == MAX_FILES:
            why = f"is one file too many: {MAX_FILES} is the most"
            return Problem(named.span, why, named.path)
        limit = self._budget.size
        try:
            with path.open("rb") as file:
                content = file.read(limit + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            why = (getattr(error, "strerror", None) or str(error)).lower()
            return Problem(named.span, f"cannot be read: {why}", named.path)
        here = Span(Source(str(path)))
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Problem(here, "is UTF-16 or UTF-32; save it as UTF-8")
        if len(content) > limit:
            others = ", together with the files before it" if self.paths else ""
            return Problem(here, f"is larger than {MAX_BYTES >> 20} MiB{others}")
        self._budget.size -= len(content)
        self.paths.append(path)
        try:
            return Source(str(path), content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8-sig").split("\n")
            span = Span(here.source, len(before) - 1, len(before[-1]))
            byte = error.object[error.start]
            return Problem(span, f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")
