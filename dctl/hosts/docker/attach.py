"""A command in a container, on our own terminal or pipes.

By the docker command, which knows how to lead a terminal: raw mode, its size, what detaches it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

from dctl.errors import NotFoundError
from dctl.hosts.attached import run_attached

# The engine that the rest of this runtime speaks to, whatever context the user's command has.
_HERE = "unix:///var/run/docker.sock"


def attach(container: str, argv: Sequence[str]) -> int:
    """Run it to its end; the exit code is its own, 126 or 127 when it cannot be run."""
    if shutil.which("docker") is None:
        raise NotFoundError(
            "the docker command is not installed here, and it runs commands in containers",
            hint="install it (on Debian: apt-get install docker.io)",
        )
    terminal = ("--tty",) if sys.stdin.isatty() and sys.stdout.isatty() else ()
    return run_attached(
        ["docker", "exec", "--interactive", *terminal, container, *argv],
        env={**os.environ, "DOCKER_HOST": os.environ.get("DOCKER_HOST") or _HERE},
    )
