"""A Python with Draft in it and without the checkout, as somebody has it who installed the wheel.

What Draft requires is taken from where the tests run, package by package: nothing is fetched, and
what Draft does not declare is not there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
_TIMEOUT = 120


def build_wheel(folder: Path) -> Path:
    """The wheel of the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=_TIMEOUT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(folder: Path, wheel: Path, extra: str) -> Path:
    """A new environment with the wheel and what it requires for `extra`; the folder of its
    programs."""
    uv = [sys.executable, "-m", "uv", "--offline", "--no-config", "-q"]
    made = [*uv, "venv", "--python", sys.executable, str(folder)]
    subprocess.run(made, check=True, capture_output=True, timeout=_TIMEOUT)
    programs = folder / "bin"
    version = sysconfig.get_python_version()
    packages = folder / "lib" / f"python{version}" / "site-packages"
    for name in sorted(closure(_of_wheel(wheel), extra)):
        _bring(metadata.distribution(name), packages, programs)
    own = [*uv, "pip", "install", "--no-deps", "--python", str(programs / "python"), str(wheel)]
    subprocess.run(own, check=True, capture_output=True, timeout=_TIMEOUT)
    return programs


def closure(of: metadata.Distribution, extra: str) -> set[str]:
    """The names of all that a distribution requires with that extra, directly or not."""
    found: set[str] = set()
    left = list(_requires(of, {extra}))
    seen: set[tuple[str, frozenset[str]]] = set()
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name != canonicalize_name(of.name):
            found.add(name)
        left += _requires(metadata.distribution(name), extras)
    return found


def _of_wheel(wheel: Path) -> metadata.Distribution:
    inside = zipfile.Path(wheel)
    (info,) = (entry for entry in inside.iterdir() if entry.name.endswith(".dist-info"))
    return metadata.PathDistribution(info)  # type: ignore[arg-type]


def _requires(
    of: metadata.Distribution, extras: set[str] | frozenset[str]
) -> Iterator[tuple[str, frozenset[str]]]:
    for text in of.requires or ():
        asked = Requirement(text)
        if asked.marker is None or any(
            asked.marker.evaluate({"extra": extra}) for extra in extras or {""}
        ):
            yield canonicalize_name(asked.name), frozenset(asked.extras)


def _bring(one: metadata.Distribution, packages: Path, programs: Path) -> None:
    """Link its files, where that is possible; programs in Python get the new interpreter."""
    for file in one.files or ():
        source = Path(str(one.locate_file(file)))
        if not source.is_file() or file.suffix == ".pyc":
            continue
        parts = Path(os.path.normpath(file)).parts
        outside = parts[:1] == ("..",)
        if outside and "bin" not in parts:
            continue  # man pages and the like
        target = programs / source.name if outside else packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if outside and source.read_bytes()[:2] == b"#!":
            text = source.read_text()
            target.write_text(re.sub(r"\A#!.*python.*", f"#!{programs / 'python'}", text))
            target.chmod(0o755)
            continue
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
