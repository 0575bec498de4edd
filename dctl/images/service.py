"""The image of a user's service: its folder on the chassis."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dctl.errors import NotFoundError
from dctl.images.base import Base
from dctl.images.core import chassis_image, installed, library
from dctl.images.image import Image, make
from dctl.images.packages import Packages
from dctl.images.requirements import of_service, pins
from dctl.sources import code_files

REQUIREMENTS = "requirements.txt"


def service_image(
    base: Base, *, cluster: str, service: str, folder: Path, api: Path | None = None
) -> Image:
    """The Python service in `folder`, with the package that is generated into the folder `api`.

    It runs `python main.py` in /app/<folder's name>.
    """
    files = service_files(service, folder, api)
    owner = {"draft.image.cluster": cluster, "draft.image.service": service}
    return make(
        f"draft/{cluster}-{service}",
        _below(base, cluster, service, folder, owner),
        "service",
        title=service,
        args={"PYTHON": base.python, "FOLDER": folder.resolve().name},
        labels={"org.opencontainers.image.base.name": base.reference, **owner},
        files=files,
    )


def service_files(service: str, folder: Path, api: Path | None) -> dict[str, Path | bytes]:
    """Its code below app/, and the package that is generated into the folder `api` below lib/."""
    if not (folder / "main.py").is_file():
        raise NotFoundError(
            f"service {service}: there is no main.py in {folder}",
            hint="`run:` names a folder whose main.py starts the service",
        )
    files: dict[str, Path | bytes] = {}
    if api is not None and api.is_dir() and api.resolve() != installed("draft_api").resolve():
        files |= library(api.name, api)
    for file in code_files(folder):
        files[f"app/{file.relative_to(folder).as_posix()}"] = file
    return files


def service_packages(folder: Path, base: Base) -> Packages | None:
    """What its requirements.txt asks for besides the chassis; None for nothing."""
    file = folder / REQUIREMENTS
    asked = of_service(file.read_text(), str(file)) if file.is_file() else ()
    if not asked:
        return None
    return Packages(
        requirements=asked,
        python=base.python,
        machine=base.machine,
        glibc=base.glibc,
        # What the chassis runs with must not change under it.
        constraints=pins([], base.environment()),
        resolve=True,
    )


def _below(base: Base, cluster: str, service: str, folder: Path, owner: Mapping[str, str]) -> Image:
    chassis = chassis_image(base)
    packages = service_packages(folder, base)
    if packages is None:
        return chassis
    return make(
        f"draft/{cluster}-{service}-packages",
        chassis,
        "packages",
        title=f"Packages of {service}",
        args={"PYTHON": base.python},
        labels=owner,
        packages=packages,
    )
