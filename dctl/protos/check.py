"""What buf says about the protos: their style, their layout, and what would break a client."""

from __future__ import annotations

import re
from pathlib import Path

from dctl.errors import NotFoundError
from dctl.protos import tools

BASELINE = "baseline.binpb"
_CHANGED = re.compile(r"^diff -u (.+)\.orig \1$", re.MULTILINE)


def lint(folder: Path) -> None:
    """SpecError with every finding when the protos break a rule of `buf.yaml` (default: buf's)."""
    tools.buf("lint", folder=folder)


def format(folder: Path, *, check: bool = False) -> tuple[Path, ...]:
    """Lay the protos out in buf's one way and return those that changed; `check` only looks.

    SpecError when they do not compile: buf would drop what it does not understand.
    """
    tools.buf("build", "-o", "/dev/null", folder=folder)
    changed = tuple(
        folder / name
        for name in _CHANGED.findall(tools.buf_format("-d", "--exit-code", folder=folder))
    )
    if changed and not check:
        tools.buf_format("-w", folder=folder)
    return changed


def breaking(folder: Path, *, against: Path | None = None) -> None:
    """SpecError with every change since the baseline (default: the folder's) that breaks clients.

    The baseline is a file and not a branch: in CI, a clone of main compares with itself.
    """
    baseline = against or folder / BASELINE
    if not baseline.is_file():
        raise NotFoundError(
            f"{baseline} is not there, so nothing can be compared with it",
            hint="make one of the protos as they are: dctl api breaking --update",
        )
    tools.buf("breaking", "--against", str(baseline.absolute()), folder=folder)


def update_baseline(folder: Path) -> Path:
    """Make the protos as they are the ones to compare with from now on; returns the file."""
    baseline = folder / BASELINE
    tools.buf("build", "-o", str(baseline.absolute()), folder=folder)
    return baseline


def descriptor(folder: Path, target: Path) -> None:
    """Write the descriptor set of the protos, and of all that they import, for Envoy and others."""
    options = ("--as-file-descriptor-set", "--exclude-source-info")
    tools.buf("build", "-o", str(target.absolute()), *options, folder=folder)
