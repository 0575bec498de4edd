"""An image as a value: what it is made of, and the tag that this hashes to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dctl.images.packages import Packages

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Image:
    """One image on its parent: another of ours, or the name of a base.

    Its build context is either `files` (path there -> a file here, or its content) or `packages`.
    """

    tag: str
    parent: Image | str
    dockerfile: str
    args: Mapping[str, str]
    labels: Mapping[str, str]
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    packages: Packages | None = None

    def chain(self) -> tuple[Image, ...]:
        """This image after all of ours that it stands on, in the order in which to build them."""
        below = () if isinstance(self.parent, str) else self.parent.chain()
        return (*below, self)


def make(
    name: str,
    parent: Image | str,
    dockerfile: str,
    *,
    title: str,
    args: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    files: Mapping[str, Path | bytes] | None = None,
    packages: Packages | None = None,
) -> Image:
    """An image of the `dockerfile` beside this module, tagged `name:<hash of all that it is>`."""
    text = (_HERE / f"{dockerfile}.Dockerfile").read_text()
    # Not draft.cluster and the like: containers inherit labels, and those mark who owns them.
    marks = {"org.opencontainers.image.title": title, **(labels or {})}
    content = {
        "parent": parent if isinstance(parent, str) else parent.tag,
        "dockerfile": text,
        "args": dict(args or {}),
        "labels": marks,
        "files": {path: file_digest(source) for path, source in (files or {}).items()},
        "packages": packages.digest if packages else "",
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Image(
        tag=f"{name}:{digest[:12]}",
        parent=parent,
        dockerfile=text,
        args=args or {},
        labels={**marks, "draft.image.content": digest},
        files=files or {},
        packages=packages,
    )


def file_digest(source: Path | bytes) -> str:
    """Of a file's content and whether it can be executed, which is all that is kept of it."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    mark = b"x" if is_program(source) else b"-"
    return hashlib.sha256(mark + source.read_bytes()).hexdigest()


def is_program(source: Path) -> bool:
    """Whether its owner may execute the file."""
    return bool(source.stat().st_mode & 0o100)
