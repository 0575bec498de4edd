"""What has to be known of a base image before anything can be put on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from dctl.errors import DctlError, NotFoundError
from dctl.images import docker
from dctl.images.packages import cache

# Python 3.11 is the oldest that Draft runs on.
_OLDEST = (3, 11)
_ASK = """
import platform, sys
libc, version = platform.libc_ver()
print("%d.%d" % sys.version_info[:2], platform.machine(), libc or "none", version or "0")
"""


@dataclass(frozen=True, slots=True)
class Base:
    """A base image: how it is called, and the Python, machine and glibc (2.x) in it."""

    reference: str
    python: str
    machine: str
    glibc: int

    def environment(self) -> dict[str, str]:
        """The markers of PEP 508 that can differ from this machine's."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "platform_machine": self.machine,
            "platform_system": "Linux",
            "sys_platform": "linux",
            "os_name": "posix",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }


def read_base(
    reference: str,
    say: Callable[[str], None],
    *,
    host: str = "",
    image_id: Callable[[str], str] | None = None,
) -> Base:
    """Ask the base itself, once for each content of it; it is pulled if the engine lacks it.

    `image_id` tells the id behind a name, where a caller can ask faster than the docker command.
    """
    engine = docker.Engine(host)
    find = image_id or engine.image_id
    identity = find(reference)
    if not identity:
        say(f"pulling {reference}")
        engine.pull(reference, "base image")
        identity = find(reference)
    kept = cache() / "bases" / f"{identity.removeprefix('sha256:')}.json"
    try:
        return Base(reference, **json.loads(kept.read_text()))
    except (OSError, ValueError, TypeError):
        base = parse(reference, engine.run(reference, "python3", "-c", _ASK))
    kept.parent.mkdir(parents=True, exist_ok=True)
    facts = asdict(base)
    facts.pop("reference")
    kept.write_text(json.dumps(facts))
    return base


def parse(reference: str, answer: str) -> Base:
    """What a base said of itself; an error where nothing of ours would run on it."""
    try:
        python, machine, libc, version = answer.split()
        release = tuple(int(part) for part in python.split("."))
        glibc = int(version.split(".")[1]) if libc == "glibc" else 0
    except (ValueError, IndexError):
        raise NotFoundError(
            f"base image {reference}: its python3 did not say what it is, but: {answer.strip()!r}",
            hint="name a base image with Python 3.11 or newer, such as python:3.12-slim",
        ) from None
    if release < _OLDEST:
        raise DctlError(
            f"base image {reference} has Python {python}; Draft needs 3.11 or newer",
            hint="name another base image, such as python:3.12-slim",
        )
    if not glibc:
        raise DctlError(
            f"base image {reference} is not built on glibc, which Envoy's binary needs",
            hint="name a Debian, Ubuntu or Red Hat based one, such as python:3.12-slim",
        )
    return Base(reference, python, machine, glibc)
