"""A spec's file to a `Loaded` spec, or one SpecError with every problem in it.

Reads files and nothing else: the environment is an argument.

    read -> tree -> hosts of the inventory files -> ${...} -> model + rules -> Loaded
"""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dctl.spec.interpolate import interpolate
from dctl.spec.model import Cluster, Inventory
from dctl.spec.problems import Path as Place
from dctl.spec.problems import Problem, Source, Span, spec_error
from dctl.spec.scalars import plain
from dctl.spec.translate import translate
from dctl.spec.tree import MAX_BYTES, Entry, Table, parse, to_data
from dctl.spec.validate import check
from dctl.spec.view import entries, place_span, texts
from dctl.spec.workload import Part

M = TypeVar("M", bound=Part)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec that holds: typed, and as data with files merged and variables replaced.

    `data` is what was written, defaults left out; secrets are references in both. `root` is the
    folder at which `run:` and `files:` start; `files` are all that were read, the spec first.
    `tree` knows where each value was written.
    """

    cluster: Cluster
    path: Path
    root: Path
    files: tuple[Path, ...]
    data: Mapping[str, Any]
    tree: Table = field(repr=False)

    def refuse(self, found: Iterable[tuple[Place, str]]) -> None:
        """Raise SpecError for what a later stage found wrong: (keys to the value, why)."""
        problems = [Problem(place_span(self.tree, place), why, place) for place, why in found]
        if problems:
            raise spec_error(problems)


def load(path: Path, *, env: Mapping[str, str] | None = None, root: Path | None = None) -> Loaded:
    """Read the spec at `path`; `env` (default: ours) fills `${...}`, `root` is the workspace
    (default: the spec's folder). Raises SpecError, and nothing else, for whatever is wrong."""
    env = os.environ if env is None else env
    root = path.parent if root is None else root
    problems: list[Problem] = []
    tree = _read(path, problems)
    if tree is None:
        raise spec_error(problems)
    interpolate(tree, env, problems)
    files = [path, *_add_inventories(tree, path.parent, env, problems)]
    cluster = _validate(tree, Cluster, problems)
    _add(problems, check(tree, root))
    if problems or cluster is None:
        raise spec_error(problems)
    data = plain(to_data(tree))
    data.pop("inventory", None)  # its hosts are in it now
    return Loaded(cluster, path, root, tuple(files), data, tree)


def load_document(path: Path, model: type[M], *, env: Mapping[str, str] | None = None) -> M:
    """Any other YAML file of ours, read with the same care. Raises SpecError."""
    problems: list[Problem] = []
    value = None
    if tree := _read(path, problems):
        interpolate(tree, os.environ if env is None else env, problems)
        value = _validate(tree, model, problems)
    if problems or value is None:
        raise spec_error(problems)
    return value


def _validate(tree: Table, model: type[M], problems: list[Problem]) -> M | None:
    data, models = to_data(tree), dict[int, type[BaseModel]]()
    try:
        return model.model_validate(data, context=models)
    except ValidationError as error:
        _add(problems, translate(error, tree, data, models))
        return None


def _add(problems: list[Problem], further: Iterable[Problem]) -> None:
    """Where something was found to be wrong already, nothing further is said."""
    known = {problem.span for problem in problems}
    problems += [problem for problem in further if problem.span not in known]


def _add_inventories(
    tree: Table, folder: Path, env: Mapping[str, str], problems: list[Problem]
) -> list[Path]:
    """Put the hosts of the inventory files into the tree, where they meet the spec's own."""
    files = []
    hosts = Table(tree.span, dict(entries(tree, "hosts")))
    for text in texts(tree, "inventory"):
        files.append(path := folder / text)
        if (inventory := _read(path, problems)) is None:
            continue
        interpolate(inventory, env, problems)
        _validate(inventory, Inventory, problems)
        for name, entry in entries(inventory, "hosts").items():
            if first := hosts.entries.get(name):
                where = f"{first.span.source.name}:{first.span.line + 1}"
                message = f"the host is already declared at {where}"
                problems.append(Problem(entry.span, message, ("hosts", name)))
            else:
                hosts.entries[name] = entry
    if files and hosts.entries:
        tree.entries["hosts"] = Entry(hosts.span, hosts)
    return files


def _read(path: Path, problems: list[Problem]) -> Table | None:
    """The file's mapping, or None with the reason among `problems`."""
    source = Source(str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problems.append(Problem(Span(source), f"cannot be read: {reason}"))
        return None
    except ValueError as error:  # a NUL in the path
        problems.append(Problem(Span(source), f"cannot be read: {error}"))
        return None
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        problems.append(Problem(Span(source), "is UTF-16 or UTF-32; save it as UTF-8"))
        return None
    if len(content) > MAX_BYTES:
        problems.append(Problem(Span(source), f"is larger than {MAX_BYTES >> 20} MiB"))
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig").split("\n")
        span = Span(source, len(before) - 1, len(before[-1]))
        byte = error.object[error.start]
        problems.append(Problem(span, f"byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"))
        return None
    return parse(Source(str(path), text), problems)
