"""docker compose, as its binary comes with the development dependencies."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def binary() -> str:
    """Where it is; skips the test where there is none."""
    beside = Path(sys.executable).with_name("docker-compose")
    found = str(beside) if beside.exists() else shutil.which("docker-compose")
    if found is None:
        pytest.skip("no docker-compose here: what is exported for it is not tried with it")
    return found


def compose(file: Path, *arguments: str, timeout: float = 120) -> str:
    """What it says on stdout; fails with its words."""
    done = subprocess.run(
        [binary(), "--file", str(file), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
