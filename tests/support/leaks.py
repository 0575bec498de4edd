"""Where a secret stands that stands nowhere else: looked for in all forms, wherever bytes are."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> list[bytes]:
    """As it is, and as encoders write it."""
    data = secret.encode()
    return [
        data,
        base64.b64encode(data).rstrip(b"="),
        data.hex().encode(),
        quote(secret, safe="").encode(),
        *(line for line in data.splitlines() if len(line) >= 8),
    ]


def holds(data: bytes, secret: str) -> bool:
    """Whether a secret is in it, in any form."""
    return any(form in data for form in forms(secret))


def files_with(secret: str, *folders: Path) -> list[Path]:
    """The files below that hold it; links are not followed."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and holds(path.read_bytes(), secret):
                found.append(path)
    return found


def processes_with(secret: str) -> list[str]:
    """The processes of this machine that show it on their command line or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for what in ("cmdline", "environ"):
            try:
                if holds((process / what).read_bytes(), secret):
                    found.append(f"{what} of {(process / 'comm').read_text().strip()}")
            except OSError:
                continue  # it ended, or is not ours
    return found


def in_docker(secret: str, names: Iterable[str]) -> Iterator[str]:
    """What the engine tells of containers, volumes and networks that holds it."""
    for name in names:
        for command in (["inspect", name], ["top", name], ["exec", name, "env"], ["history", name]):
            done = subprocess.run(["docker", *command], capture_output=True, check=False)
            if holds(done.stdout + done.stderr, secret):
                yield f"docker {' '.join(command)}"
