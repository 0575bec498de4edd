"""Contexts: names for workspaces of this user, and which of them is meant outside of any.

They stand in one file of the user's configuration, which is replaced whole: a reader never sees a
part of it.
"""

from __future__ import annotations

import difflib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dctl.errors import DctlError, NotFoundError
from dctl.hosts.state.files import private_folder, write_whole
from dctl.hosts.state.folder import config_dir


@dataclass(frozen=True, slots=True)
class Contexts:
    """The root of each workspace by its name, and the name of the `default` one, if any."""

    roots: Mapping[str, Path] = field(default_factory=dict)
    default: str = ""


def file() -> Path:
    """Where they stand."""
    return config_dir() / "contexts.json"


def read() -> Contexts:
    """All that there are. Raises DctlError when the file is no such file."""
    try:
        said = json.loads(file().read_text("utf-8"))
        roots = {str(name): Path(root) for name, root in said["contexts"].items()}
        return Contexts(roots, str(said.get("default", "")))
    except FileNotFoundError:
        return Contexts()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DctlError(
            f"{file()} is not a file of contexts",
            hint="mend it, or remove it and then in each workspace: dctl context import",
        ) from None


def root_of(name: str) -> Path:
    """The root of the workspace that is called so. Raises NotFoundError."""
    known = read()
    if name not in known.roots:
        near = difflib.get_close_matches(name, known.roots, n=1)
        guess = f'; did you mean "{near[0]}"?' if near else ""
        hint = f"there are: {', '.join(known.roots)}" if known.roots else "dctl context import"
        raise NotFoundError(f'there is no context "{name}"{guess}', hint=hint)
    return _there(name, known.roots[name])


def default_root() -> Path | None:
    """The root of the default context's workspace, if one was chosen."""
    known = read()
    return _there(known.default, known.roots[known.default]) if known.default else None


def add(name: str, root: Path) -> None:
    """Remember a workspace. Raises DctlError when the name is another one's."""
    with _changing() as known:
        _refuse_other(known, name, root)
        _write(Contexts({**known.roots, name: root}, known.default))


def refuse_other(name: str, root: Path) -> None:
    """Raise DctlError when the name is that of a workspace elsewhere."""
    _refuse_other(read(), name, root)


def choose(name: str) -> None:
    """Make it the default; "" leaves none. Raises NotFoundError."""
    if name:
        root_of(name)
    with _changing() as known:
        _write(Contexts(known.roots, name))


def _refuse_other(known: Contexts, name: str, root: Path) -> None:
    there = known.roots.get(name)
    if there is not None and there != root and (there / "draft.yaml").is_file():
        raise DctlError(
            f'the context "{name}" is the workspace at {there}',
            hint="choose another name: two clusters of one name cannot run beside each other",
        )


def _there(name: str, root: Path) -> Path:
    if not (root / "draft.yaml").is_file():
        raise NotFoundError(
            f'the workspace of context "{name}" is not at {root} any more',
            hint="where it is now: dctl context import",
        )
    return root


@contextmanager
def _changing() -> Iterator[Contexts]:
    """One dctl at a time reads, decides and writes."""
    private_folder(config_dir())
    guard = os.open(file().with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield read()
    finally:
        os.close(guard)


def _write(contexts: Contexts) -> None:
    roots = {name: str(root) for name, root in sorted(contexts.roots.items())}
    write_whole(file(), json.dumps({"contexts": roots, "default": contexts.default}, indent=2))
