"""A spec's files to a `Loaded` spec, or one SpecError with every problem in them.

Reads files and nothing else: the environment is an argument.

    spec, what it includes, overlays -> one tree -> ${...} -> hosts of inventory files, groups
    -> model -> profiles -> rules -> Loaded
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dctl.spec.files import Files
from dctl.spec.include import document, rebase
from dctl.spec.interpolate import interpolate
from dctl.spec.inventory import add_inventories, apply_groups
from dctl.spec.layers import merge
from dctl.spec.model import Cluster
from dctl.spec.problems import Path as Place
from dctl.spec.problems import Problem, add_new, spec_error
from dctl.spec.profiles import SECTIONS, left_out, prune
from dctl.spec.scalars import plain
from dctl.spec.translate import validated
from dctl.spec.tree import Table, to_data
from dctl.spec.validate import check
from dctl.spec.variant import Variant
from dctl.spec.view import place_span
from dctl.spec.workload import Part

M = TypeVar("M", bound=Part)
_DONE = ("include", "inventory", "groups")  # what they bring is in its place by then


@dataclass(frozen=True, slots=True)
class Loaded:
    """A spec that holds: typed, and as data with files merged and variables replaced.

    `data` is what was written, defaults left out; secrets are references in both. `root` is the
    folder at which all paths in it start; `files` are all that were read, the spec first.
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


def load(
    path: Path,
    variant: Variant | None = None,
    *,
    env: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> Loaded:
    """Read the spec at `path`, or a `variant` of it; `env` (default: ours) fills `${...}`, `root`
    is the workspace (default: the spec's folder). Raises SpecError, and nothing else, for whatever
    is wrong."""
    env = os.environ if env is None else env
    root = path.parent if root is None else root
    variant = variant or Variant()
    problems: list[Problem] = []
    files = Files(problems)
    tree = document(path, files, env, problems)
    overlays = variant.overlays(path)
    for overlay in overlays:
        further = document(overlay, files, env, problems, overlay=True)
        if tree and further:
            tree = merge(tree, further, problems)
    if tree is None:
        raise spec_error(problems)
    interpolate(tree, env, problems)
    add_inventories(tree, files, env, problems)
    apply_groups(tree, problems)
    own = [path, *overlays]
    if len(files.paths) > len(own):
        rebase(tree, {str(one) for one in own}, root)
    cluster = validated(tree, Cluster, problems)
    inactive = left_out(tree, variant.profiles, problems)
    tree = prune(tree, inactive)
    add_new(problems, check(tree, root, inactive))
    if problems or cluster is None:
        raise spec_error(problems)
    if inactive:
        cluster = cluster.model_copy(update={s: _kept(cluster, s, inactive) for s in SECTIONS})
    for key in _DONE:
        tree.entries.pop(key, None)
    return Loaded(cluster, path, root, tuple(files.paths), plain(to_data(tree)), tree)


def load_document(path: Path, model: type[M], *, env: Mapping[str, str] | None = None) -> M:
    """Any other YAML file of ours, read with the same care. Raises SpecError."""
    problems: list[Problem] = []
    value = None
    if tree := Files(problems).read(path):
        interpolate(tree, os.environ if env is None else env, problems)
        value = validated(tree, model, problems)
    if problems or value is None:
        raise spec_error(problems)
    return value


def _kept(cluster: Cluster, section: str, inactive: Mapping[str, object]) -> dict[str, Any]:
    return {k: v for k, v in getattr(cluster, section).items() if k not in inactive}
