"""What a build is asked for: what draft.yaml says, or what it said when it was read last.

To read it takes most of the time of a build that has nothing to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dctl.protos import languages, stamp

if TYPE_CHECKING:
    from dctl.protos.build import Further
    from dctl.workspace import Workspace

_VARIABLE = b"$"  # what it says depends on more than the file, then


@dataclass(frozen=True, slots=True)
class Asked:
    """Of which protos which package is made; paths in `said` start at the root."""

    root: Path
    said: Mapping[str, Any]
    draft: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.root / str(self.said["folder"])

    @property
    def out(self) -> Path:
        return self.root / str(self.said["out"])

    @property
    def package(self) -> str:
        return str(self.said["package"])

    @property
    def stamp(self) -> Path:
        return stamp_file(self.root, self.package)

    def further(self) -> Further:
        from dctl.protos.build import Further

        prefix = f"{self.said['repo']}/{self.said['out']}" if self.said["repo"] else ""
        return Further(self.plugins, prefix, self.draft, self.said)


def stamp_file(root: Path, package: str) -> Path:
    """Where the workspace at `root` keeps the stamp of a package."""
    return root / ".draft" / f"{package}.stamp"


def asked(workspace: Workspace) -> Asked:
    """What a workspace with protos asks for."""
    api = workspace.api
    assert api is not None
    said = {
        "folder": os.path.relpath(api.folder, workspace.root),
        "out": os.path.relpath(api.out, workspace.root),
        "package": api.package,
        "languages": list(api.languages),
        "repo": workspace.repo,
    }
    return _with_plugins(workspace.root, said, _digest(workspace.root))


def remembered(root: Path) -> Asked | None:
    """The same as it was when the package was built last; None when draft.yaml is another since."""
    draft = _digest(root)
    for file in sorted((root / ".draft").glob("*.stamp")) if draft else ():
        last = stamp.read(file)
        if last and last.draft == draft and last.asked:
            return _with_plugins(root, last.asked, draft)
    return None


def _with_plugins(root: Path, said: Mapping[str, Any], draft: str) -> Asked:
    found, missing = languages.plugins(said["languages"], root)
    return Asked(root, said, draft, found, tuple(missing))


def _digest(root: Path) -> str:
    text = (root / "draft.yaml").read_bytes()
    return "" if _VARIABLE in text else stamp.digest(text)
