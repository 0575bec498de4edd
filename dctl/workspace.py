"""The workspace: a repository with a `draft.yaml` at its root, and which spec is meant.

`-f` names the spec, else `-c` a context, else the nearest `draft.yaml` upward does (its
`cluster:`), else the default context. Paths in a spec start at the root of the workspace in which
the spec lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dctl.errors import NotFoundError

if TYPE_CHECKING:
    from dctl.spec import Loaded
    from dctl.spec.variant import Variant

FILE = "draft.yaml"


@dataclass(frozen=True, slots=True)
class Api:
    """The workspace's protobufs: `folder` holds them, `package` is generated into `out`."""

    folder: Path
    package: str
    out: Path
    languages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workspace:
    """What `draft.yaml` says, paths made whole."""

    root: Path
    name: str
    cluster: Path | None = None
    api: Api | None = None
    repo: str = ""
    trunk_branch: str = "main"
    environments: tuple[str, ...] = ()

    @property
    def proto_package(self) -> str:
        """The first part of the names of its protobuf packages."""
        return self.name.replace("-", "_")


def find_root(start: Path) -> Path | None:
    """The nearest folder from `start` upward that holds a `draft.yaml`."""
    start = start.absolute()
    return next((p for p in (start, *start.parents) if (p / FILE).is_file()), None)


def find_workspace(start: Path | None = None) -> Workspace:
    """The workspace around `start` (default: the working directory), else that of the default
    context. Raises NotFoundError when there is none, SpecError when its `draft.yaml` is wrong."""
    from dctl import contexts

    start = Path.cwd() if start is None else start
    root = find_root(start) or contexts.default_root()
    if root is None:
        raise NotFoundError(
            f"no {FILE} in {start.absolute()} nor above it",
            hint="go into a workspace, name a cluster spec with -f or a workspace with -c, or make"
            " one here: dctl context init",
        )
    return read_workspace(root)


def cluster_of(workspace: Workspace) -> Path:
    """The cluster spec that a workspace names."""
    if workspace.cluster is None:
        raise NotFoundError(
            f"{_shown(workspace.root / FILE)} names no cluster",
            hint="add `cluster: <file>` to it, or name a cluster spec with -f",
        )
    return workspace.cluster


def read_workspace(root: Path) -> Workspace:
    """The workspace whose root is `root`."""
    from dctl.spec.loading import load_document
    from dctl.spec.model import WorkspaceFile

    file = load_document(_shown(root / FILE), WorkspaceFile)
    api = file.api
    return Workspace(
        root,
        file.name,
        root / file.cluster if file.cluster else None,
        Api(root / api.folder, api.package, root / api.out, api.languages) if api else None,
        file.repo or "",
        file.trunk_branch,
        file.environments,
    )


def generated(root: Path) -> Path | None:
    """The package that the workspace at `root` generates of its protobufs, if it has any."""
    api = read_workspace(root).api if (root / FILE).is_file() else None
    return api.out / api.package if api else None


def find_spec(file: Path | None = None) -> Path:
    """The cluster spec that is meant: `file` if given, else that of the nearest workspace."""
    return cluster_of(find_workspace()) if file is None else file


def load_spec(
    file: Path | None = None,
    variant: Variant | None = None,
    *,
    env: Mapping[str, str] | None = None,
) -> Loaded:
    """Find the spec that is meant and load it against its workspace's root."""
    from dctl.spec import load

    path = find_spec(file)
    root = find_root(path.parent) or path.absolute().parent
    return load(_shown(path), variant, env=env, root=root)


def _shown(path: Path) -> Path:
    """The path as a person here would type it: it stands in front of every problem."""
    if not path.is_absolute():
        return path
    try:
        return path.relative_to(Path.cwd())
    except ValueError:
        return path
