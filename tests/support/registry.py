"""A registry of images on a free port: the real one, in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dctl.hosts import ports
from tests.support.waiting import wait_until


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """host:port of one; skips the test where there is none to run."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("no docker-registry here (Debian: apt-get install docker-registry)")
    # By its name: an engine takes "localhost" for a registry without TLS.
    address = f"localhost:{ports.free('127.0.0.1')}"
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {folder / 'registry'}}}}}\n"
        f"http: {{addr: '127.0.0.1:{address.partition(':')[2]}'}}\n"
    )
    with open(folder / "registry.log", "wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(config)], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: _answers(address), within=20)
        yield address
    finally:
        process.kill()
        process.wait()


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=2):
            return True
    except OSError:
        return False
