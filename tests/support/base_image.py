"""A Debian root with Python as a base image, made once on a machine that can pull nothing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_SUITE = "bookworm"
_PACKAGES = "python3"
# What dpkg need not unpack, and what debootstrap leaves behind.
_USELESS = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists")
_CACHE = "var/cache/apt/archives"


def base_image() -> str:
    """The name of the base on this machine's engine; skips the test where there can be none."""
    return debian_image(_PACKAGES)


def debian_image(packages: str) -> str:
    """A Debian root with `packages` (with commas between them), made on the first call."""
    if missing := _why_not():
        pytest.skip(missing)
    suite = _suite()
    recipe = repr((suite, packages, _USELESS, _CACHE)).encode()
    name = f"draft-test/base:{hashlib.sha256(recipe).hexdigest()[:12]}"
    with open(Path(tempfile.gettempdir()) / "draft-test-base.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not has_image(name):
            _make(name, suite, packages)
    return name


def has_image(name: str) -> bool:
    """Whether the engine has it."""
    asked = subprocess.run(["docker", "image", "inspect", name], capture_output=True)
    return asked.returncode == 0


def _why_not() -> str:
    if not shutil.which("docker"):
        return "no containers are tested: the docker command is not installed"
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True)
    if asked.returncode:
        return f"no containers are tested: no engine answers ({asked.stderr.strip()})"
    if not shutil.which("debootstrap") or os.geteuid():
        return "no containers are tested: a base image is made with debootstrap, by root"
    return ""


def _suite() -> str:
    """This machine's Debian, whose keys it has; elsewhere one that debootstrap knows."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(), re.M))
    own = release.get("VERSION_CODENAME") if release.get("ID") == "debian" else None
    return own or _SUITE


def _make(name: str, suite: str, packages: str) -> None:
    with tempfile.TemporaryDirectory(prefix="draft-base-") as folder:
        root = Path(folder, "root")
        # In a mount namespace of its own, nothing stays mounted if this is killed.
        command = ["unshare", "--mount", "debootstrap", "--variant=minbase"]
        command += [f"--include={packages}", suite, str(root), *mirrors(suite)[:1]]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert done.returncode == 0, done.stdout[-3000:]
        for useless in (*_USELESS, _CACHE):
            shutil.rmtree(root / useless, ignore_errors=True)
            (root / useless).mkdir()
        with subprocess.Popen(
            ["tar", "-C", str(root), "--one-file-system", "-c", "."], stdout=subprocess.PIPE
        ) as tar:
            subprocess.run(["docker", "import", "-", name], stdin=tar.stdout, check=True)
        assert tar.returncode == 0


def mirrors(suite: str, apt: Path = Path("/etc/apt")) -> list[str]:
    """Where this machine gets `suite` from, as its apt sources say; in both of their formats."""
    return [*_from_deb822(suite, apt), *_from_list(suite, apt)]


def _from_deb822(suite: str, apt: Path) -> Iterator[str]:
    for file in sorted(apt.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)", stanza, re.M))
            if suite in fields.get("Suites", "").split():
                yield from fields.get("URIs", "").split()


def _from_list(suite: str, apt: Path) -> Iterator[str]:
    for file in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*.list"))):
        if file.is_file():
            line = rf"^deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+{suite}\s"
            yield from re.findall(line, file.read_text(), re.M)
