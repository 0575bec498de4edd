"""Ports and sockets of another machine, here; and what a command there prints, as it comes.

One ssh connection a machine carries them all. It lives as long as dctl: its command there reads
our pipe, which ends with us, however we end.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts import ports
from dctl.hosts.base import Endpoint
from dctl.hosts.ssh.config import Way, program
from dctl.hosts.ssh.failures import failure, of_ssh
from dctl.hosts.ssh.known import KnownHosts

_LOOK = 0.01  # seconds between two looks
_PATIENCE = 30.0
_TRIES = 5


class Tunnel:
    """The way to one machine, opened when it is first needed."""

    def __init__(self, way: Way, config: Path, known: KnownHosts) -> None:
        self._way, self._config, self._known = way, config, known
        self._opening = threading.RLock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._ports: dict[Endpoint, Endpoint] = {}
        self._sockets: dict[str, Path] = {}

    def warm(self) -> None:
        """Open it while something else is done here; what goes wrong is told when it is used."""

        def open_() -> None:
            with contextlib.suppress(DctlError), self._opening:
                self._open()

        threading.Thread(target=open_, daemon=True).start()

    def port(self, there: Endpoint) -> Endpoint:
        """Where a port of the machine (as it sees it itself) is reached on this one."""
        with self._opening:
            self._open()
            if there not in self._ports:
                self._ports[there] = self._forwarded(there)
            return self._ports[there]

    def socket(self, path: str) -> Path:
        """A socket here that is the one at `path` there, such as /var/run/docker.sock."""
        with self._opening:
            folder = self._open()
            if path not in self._sockets:
                here = folder / f"s{len(self._sockets)}"
                self._control("forward", f"{here}:{path}")
                self._sockets[path] = here
            return self._sockets[path]

    def base_url(self, path: str = "/var/run/docker.sock") -> str:
        """The machine's Docker engine, as a DOCKER_HOST."""
        return f"unix://{self.socket(path)}"

    def lines(self, command: str) -> Iterator[str]:
        """What a command there prints, line by line; it ends when no more is asked for."""
        child = subprocess.Popen(
            [*self._ssh(), "-T", self._way.target.name, command],
            stdin=subprocess.PIPE,  # its end is the end of the command, which watches it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for line in child.stdout:
                yield line.rstrip(b"\r\n").decode(errors="replace")
            said = child.stderr.read().decode(errors="replace")
            if child.wait() == 255:
                raise self._failure(said)
        finally:
            _end(child)

    def command(self, command: str, *, terminal: bool) -> list[str]:
        """The command line that runs a command there, on the terminal or pipes that we have."""
        return [*self._ssh(), "-tt" if terminal else "-T", self._way.target.name, command]

    def close(self) -> None:
        with self._opening:
            if self._master is not None:
                _end(self._master)
                self._master = None
            self._ports.clear()
            self._sockets.clear()
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def _ssh(self) -> list[str]:
        with self._opening:
            folder = self._open()
        return [program("ssh"), "-F", str(self._config), "-S", str(folder / "c"), "-q"]

    def _forwarded(self, there: Endpoint) -> Endpoint:
        for attempt in range(_TRIES):
            here = Endpoint("127.0.0.1", ports.free("127.0.0.1"))
            host = f"[{there.host}]" if ":" in there.host else there.host
            try:
                self._control("forward", f"{here.host}:{here.port}:{host}:{there.port}")
            except DctlError:
                if attempt == _TRIES - 1:
                    raise
                continue  # somebody was faster to take the port here
            return here
        raise AssertionError("unreachable")

    def _control(self, verb: str, what: str) -> None:
        assert self._folder is not None
        command = [program("ssh"), "-F", str(self._config), "-S", str(Path(self._folder.name, "c"))]
        try:
            done = subprocess.run(
                [*command, "-O", verb, "-L", what, self._way.target.name],
                capture_output=True,
                text=True,
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise failure("timeout", self._way, f"no way to {what} in {_PATIENCE:g}s") from None
        if done.returncode:
            raise self._failure(done.stderr)

    def _failure(self, said: str) -> DctlError:
        accepted = self._known.at(self._way.place)
        return of_ssh(said, self._way, accepted.fingerprint if accepted else "")

    def _open(self) -> Path:
        """The folder of the control socket, with the connection up."""
        if self._master is not None and self._master.poll() is None and self._folder is not None:
            return Path(self._folder.name)
        self.close()
        # A socket's path is short: not below the folder of the user's, which may be long.
        self._folder = tempfile.TemporaryDirectory(prefix="draft-", dir="/tmp")
        folder = Path(self._folder.name)
        errors = folder / "errors"
        with errors.open("wb") as file:
            self._master = subprocess.Popen(
                [program("ssh"), "-F", str(self._config), "-M", "-S", str(folder / "c"), "-T",
                 "-o", "ExitOnForwardFailure=yes", self._way.target.name, "exec cat"],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _PATIENCE
        while not (folder / "c").exists():
            if self._master.poll() is not None:
                said = errors.read_text(errors="replace")
                self.close()
                raise self._failure(said)
            if time.monotonic() > deadline:
                self.close()
                raise failure("timeout", self._way, f"no connection within {_PATIENCE:g}s")
            time.sleep(_LOOK)
        return folder


def _end(child: subprocess.Popen[bytes]) -> None:
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    try:
        child.terminate()
        child.wait(2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
