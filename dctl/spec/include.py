"""`include`: a file, and all that it names, as one tree; and where the paths in them start."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from dctl.spec.files import Files
from dctl.spec.interpolate import interpolate
from dctl.spec.layers import unite
from dctl.spec.problems import Path as Place
from dctl.spec.problems import Problem
from dctl.spec.tree import Entry, Items, Node, Scalar, Table
from dctl.spec.view import entries, get


def document(
    path: Path,
    files: Files,
    env: Mapping[str, str],
    problems: list[Problem],
    *,
    overlay: bool = False,
) -> Table | None:
    """The file at `path` united with what it includes, each file once; None if it is unreadable."""
    tree = files.read(path, overlay=overlay)
    return tree and _Inclusion(files, env, problems).add(tree, path)


class _Inclusion:
    def __init__(self, files: Files, env: Mapping[str, str], problems: list[Problem]) -> None:
        self._files, self._env, self._problems = files, env, problems
        self._trail: list[Path] = []  # from the first file to the one that is being added
        self._added: set[str] = set()

    def add(self, tree: Table, path: Path, into: Table | None = None) -> Table:
        self._trail.append(path)
        self._added.add(_identity(path))
        if "include" in tree.entries:
            interpolate(tree.entries["include"].node, self._env, self._problems)
        result = tree if into is None else self._united(into, tree)
        for place, scalar in listed(tree, "include", problems=self._problems):
            further = named_by(scalar)
            if _identity(further) in map(_identity, self._trail):
                circle = " -> ".join(str(one) for one in (*self._trail, further))
                message = f"includes itself: {circle}"
                self._problems.append(Problem(scalar.span, message, place))
            elif _identity(further) not in self._added:
                named = Problem(scalar.span, "", place)
                if other := self._files.read(further, named=named):
                    result = self.add(other, further, result)
        self._trail.pop()
        return result

    def _united(self, tree: Table, other: Table) -> Table:
        """Inventories add up; each file's `include` is its own."""
        both = [node for node in (get(tree, "inventory"), get(other, "inventory")) if node]
        kept = {k: e for k, e in other.entries.items() if k not in ("include", "inventory")}
        united = unite(tree, Table(other.span, kept), self._problems)
        if both:
            items = [node.nodes if isinstance(node, Items) else [node] for node in both]
            span = both[0].span
            united.entries["inventory"] = Entry(span, Items(span, [n for ns in items for n in ns]))
        return united


def listed(
    node: Node, key: str, place: Place = (), *, problems: list[Problem]
) -> Iterator[tuple[Place, Scalar]]:
    """The texts of the list at `key`, one text counting as a list of one. Anything else there is a
    problem: what names other files has to be right before the model can speak."""
    found = get(node, key)
    if found is None:
        return
    place = (*place, key)
    items = found.nodes if isinstance(found, Items) else [found]
    for index, item in enumerate(items):
        here = (*place, index) if isinstance(found, Items) else place
        if isinstance(item, Scalar) and isinstance(item.value, str) and item.value:
            yield here, item
        else:
            problems.append(Problem(item.span, "must be a text or a list of texts", here))


def named_by(scalar: Scalar) -> Path:
    """The file that another names: it starts at the folder of that other one."""
    folder = os.path.dirname(scalar.span.source.name)
    return Path(os.path.normpath(os.path.join(folder, str(scalar.value))))


def rebase(tree: Table, own: set[str], root: Path) -> None:
    """Make all paths start at `root`: those in one of the `own` files do, those in any other start
    at its folder. (`run` always starts at the root.)"""
    done = set[int]()  # one mapping may stand in several places
    for table, key in _paths(tree):
        node = table.entries[key].node
        if id(node) in done or not (isinstance(node, Scalar) and isinstance(node.value, str)):
            continue
        folder, kind = os.path.dirname(node.span.source.name), type(node.value)
        if node.span.source.name in own or not node.value.strip():
            continue
        if node.value.startswith(("secret://", "~")) or os.path.isabs(node.value):
            continue
        moved = replace(node, value=kind(os.path.relpath(os.path.join(folder, node.value), root)))
        table.entries[key] = table.entries[key]._replace(node=moved)
        done.add(id(moved))


def _paths(tree: Table) -> Iterator[tuple[Table, str]]:
    """Where paths to files stand: the mapping and the key."""
    for section in ("infra", "services"):
        for entry in entries(tree, section).values():
            files = get(entry.node, "files")
            for target in entries(files):
                if isinstance(files, Table):
                    yield files, target
    for section, key in (("secrets", "file"), ("hosts", "key")):
        for entry in entries(tree, section).values():
            if isinstance(entry.node, Table) and key in entry.node.entries:
                yield entry.node, key


def _identity(path: Path) -> str:
    return os.path.realpath(path)
