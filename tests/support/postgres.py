"""PostgreSQL on a free port, in a folder of its own: the real one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dctl.hosts import ports
from tests.support.waiting import wait_until

PASSWORD = "hunter2-of-the-database"


class Postgres:
    """One server; `kill` and `start` it again, its data stay."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self.port = ports.free("127.0.0.1")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://app:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def init(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, "postgres")
        command = ["initdb", "-D", str(self._folder / "data"), "-U", "app", "--no-sync", "-A"]
        self._run([*command, "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8"])

    def start(self) -> None:
        """Returns when it takes connections."""
        with open(self._folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._programs / "postgres"),
                    *("-D", str(self._folder / "data"), "-p", str(self.port)),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                    *("-c", f"unix_socket_directories={self._folder}"),
                ],
                stdout=log,
                stderr=log,
                **self._user(),
            )
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, within=30)

    def kill(self) -> None:
        """At once, and those who are connected with it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(timeout=30)
            self._process = None

    def _run(self, command: list[str]) -> None:
        program = [str(self._programs / command[0]), *command[1:]]
        done = subprocess.run(program, capture_output=True, text=True, timeout=60, **self._user())
        assert done.returncode == 0, done.stderr

    def _user(self) -> dict[str, Any]:
        """It refuses to be root."""
        own = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        return {"cwd": self._folder, **own}


@contextmanager
def running() -> Iterator[Postgres]:
    """One; skips the test where there is none to run."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = found[-1] if found else Path(shutil.which("initdb") or "")
    if not program.is_file():
        pytest.skip("no PostgreSQL here (Debian: apt-get install postgresql)")
    # Not below pytest's folder, which its user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="draft-postgres-"))
    server = Postgres(program.parent, folder)
    try:
        server.init()
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
