"""Python packages for an image, downloaded and unpacked on this machine, kept for the next time.

They are unpacked here and not in the image: so a base needs no pip, and a build needs no network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dctl.errors import DctlError, NotFoundError

VENV_PYTHON = "/opt/draft/bin/python"  # that unpacked programs name


@dataclass(frozen=True)
class Packages:
    """Requirements for one Python on one machine. `resolve` also takes what those require,
    within `constraints`; without it the list is taken as complete."""

    requirements: tuple[str, ...]
    python: str
    machine: str
    glibc: int
    constraints: tuple[str, ...] = ()
    resolve: bool = False

    @cached_property
    def digest(self) -> str:
        """Changes with anything that is asked for."""
        asked = [
            self.requirements,
            self.constraints,
            self.resolve,
            self.python,
            self.machine,
            self.glibc,
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]


def cache() -> Path:
    """$XDG_CACHE_HOME/draft, by default in ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "draft"


def unpacked(packages: Packages) -> Path:
    """A folder with `lib/` (what can be imported) and `bin/`; downloaded only if not yet here."""
    kept = cache() / "packages" / packages.digest
    if kept.is_dir():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{packages.digest}-", dir=kept.parent))
    try:
        _download(packages, work)
        _lay_out(work)
        if not kept.is_dir():  # else another dctl was faster, with the same
            work.rename(kept)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return kept


def pip_command(packages: Packages, work: Path) -> list[str]:
    """Unpack wheels that are made for there, whatever runs here."""
    platforms = [
        f"manylinux_2_{minor}_{packages.machine}" for minor in range(packages.glibc, 4, -1)
    ]
    platforms += [f"{old}_{packages.machine}" for old in ("manylinux2014", "manylinux1", "linux")]
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += [
        "--no-input",
        "--progress-bar",
        "off",
        "--no-compile",
        "--only-binary",
        ":all:",
        "--implementation",
        "cp",
    ]
    command += ["--python-version", packages.python, "--target", str(work / "lib")]
    for platform in platforms:
        command += ["--platform", platform]
    if not packages.resolve:
        command += ["--no-deps"]
    return [*command, "-r", str(work / "requirements.txt"), "-c", str(work / "constraints.txt")]


def _download(packages: Packages, work: Path) -> None:
    if importlib.util.find_spec("pip") is None:
        raise NotFoundError(
            f"dctl's Python ({sys.executable}) has no pip to download packages with",
            hint=f"{sys.executable} -m ensurepip, or: uv pip install pip",
        )
    (work / "lib").mkdir()
    (work / "requirements.txt").write_text("\n".join(packages.requirements) + "\n")
    (work / "constraints.txt").write_text("\n".join(packages.constraints) + "\n")
    done = subprocess.run(
        pip_command(packages, work), capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise DctlError(
            "\n  ".join(
                [
                    f"packages for Python {packages.python} on {packages.machine} cannot be had"
                    f" (pip ended with {done.returncode}):",
                    *lines[-20:],
                ]
            ),
            hint="only wheels can be used; versions must fit those that Draft itself runs with",
        )


def _lay_out(work: Path) -> None:
    """pip puts programs below the packages, and names its own Python in them."""
    inside, programs = work / "lib" / "bin", work / "bin"
    if inside.is_dir():
        inside.rename(programs)
    programs.mkdir(exist_ok=True)
    for program in programs.iterdir():
        content = program.read_bytes()
        if content.startswith(b"#!"):
            program.write_bytes(content.replace(sys.executable.encode(), VENV_PYTHON.encode(), 2))
    for path in work.rglob("*"):  # whatever umask it was unpacked with
        mode = path.stat().st_mode
        path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
    work.chmod(0o755)
