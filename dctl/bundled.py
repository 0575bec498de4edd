"""Where dctl finds what came with it: data folders and binaries.

In a checkout the data folders stand at its root; in a wheel they are under `dctl/_bundled`.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

from dctl.errors import NotFoundError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The data folder `name`: "blueprints", "inventory", "envoy_templates", "services/examples",
    "api" (of which a wheel has the core's protos)."""
    inside = _PACKAGE / "_bundled" / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def nats_server() -> Path:
    """The NATS server: the wheel's beside our interpreter, else the one on PATH."""
    return _binary("nats-server", Path(sys.executable).parent / "nats-server")


def envoy() -> Path:
    """Envoy itself, not the wheel's Python launcher: it would stay as a second process."""
    spec = importlib.util.find_spec("envoy")
    places = spec.submodule_search_locations if spec else None
    return _binary("envoy", *(Path(place) / "_bin" / "envoy" for place in places or ()))


def _binary(name: str, *candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    if found := shutil.which(name):
        return Path(found)
    raise NotFoundError(
        f"{name} is not installed here", hint='pip install "draft[core]", or see: dctl doctor'
    )
