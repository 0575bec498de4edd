"""The versions that run here, as pins for another Python and machine; no network, no effects."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dctl.errors import NotFoundError, SpecError

_OURS = "draft"


def pins(extras: Iterable[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """All that Draft with `extras` needs in `environment` (markers of PEP 508), each requirement
    at the version that is installed here."""
    try:
        metadata.distribution(_OURS)
    except metadata.PackageNotFoundError:
        raise NotFoundError(
            f"the package {_OURS} is not installed beside dctl, so its needs are unknown",
            hint="make install, or: pip install draft",
        ) from None
    found: dict[str, str] = {}
    _collect(_OURS, frozenset(extras), environment, found, set())
    return tuple(sorted(found.values()))


def _collect(
    name: str,
    extras: frozenset[str],
    environment: Mapping[str, str],
    found: dict[str, str],
    seen: set[tuple[str, frozenset[str]]],
) -> None:
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    path = tuple(sys.path)
    for wanted in _installed(name, path)[1]:
        if not _applies(wanted, extras, environment):
            continue
        needed = canonicalize_name(wanted.name)
        try:
            found[needed] = f"{needed}=={_installed(needed, path)[0]}"
        except metadata.PackageNotFoundError:
            # Needed there and not here: a marker tells this Python from that one.
            found[needed] = f"{needed}{wanted.specifier}"
            continue
        _collect(needed, frozenset(wanted.extras), environment, found, seen)


@functools.cache
def _installed(name: str, path: tuple[str, ...]) -> tuple[str, tuple[Requirement, ...]]:
    """Version and needs of what is installed on `path`, which is Python's own and decides what is
    remembered. Raises PackageNotFoundError."""
    about = metadata.metadata(name)
    return about["Version"], tuple(map(Requirement, about.get_all("Requires-Dist") or ()))


def _applies(wanted: Requirement, extras: frozenset[str], environment: Mapping[str, str]) -> bool:
    if wanted.marker is None:
        return True
    return any(
        wanted.marker.evaluate({**environment, "extra": extra}) for extra in (extras or {""})
    )


def of_service(text: str, where: str) -> tuple[str, ...]:
    """The lines of a service's requirements.txt, without Draft itself, which the image has: the
    index may know something else under that name."""
    lines = []
    for number, line in enumerate(re.sub(r"\\\n", " ", text).splitlines(), 1):
        plain = re.sub(r"(^|\s)#.*", "", line).strip()
        if re.match(r"-(r|c|e)|--(requirement|constraint|editable)|[./]", plain):
            raise SpecError(
                f"{where}:{number}: {plain}: an image is built from names of packages only",
                hint="write them in this file, each on a line such as httpx==0.28.1",
            )
        named = re.match(r"[A-Za-z0-9._-]+", plain)
        if named and canonicalize_name(named[0]) != _OURS:
            lines.append(plain)
    return tuple(lines)
