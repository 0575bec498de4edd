"""A way to the Docker engine that can go away, as when the engine is stopped or restarted."""

from __future__ import annotations

import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENGINE = "/var/run/docker.sock"
# Of the time of an answer, and of the stamps in it.
_YEAR = re.compile(rb"(?<=Date: \w{3}, \d\d \w{3} )20\d\d|20\d\d(?=-\d\d-\d\dT)")


class EngineRelay:
    """Passes bytes between a socket of its own and the engine's. `cut` ends every connection and
    refuses new ones, as does the first request that has `at` in it. The engine's clock seems to be
    `years` ahead."""

    def __init__(self, path: Path) -> None:
        self.at = b""
        self.years = 0
        self.address = f"unix://{path}"
        self._path = path
        self._server: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def listen(self) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(self._path))
        server.listen(64)
        self._server = server
        threading.Thread(target=self._accept, args=(server,), daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            server, self._server = self._server, None
            opened, self._open = self._open, set()
        if server is not None:
            self._path.unlink()
            opened.add(server)
        for each in opened:
            _end(each)

    def _accept(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(ENGINE)
                with self._lock:
                    alive = self._server is server
                    self._open |= {client, engine} if alive else set()
                if not alive:
                    _end(client)
                    _end(engine)
                    continue
                for pair in ((client, engine, False), (engine, client, True)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.at and self.at in data:
                    self.at = b""
                    self.cut()
                    return
                target.sendall(self._later(data) if answers else data)
            target.shutdown(socket.SHUT_WR)

    def _later(self, data: bytes) -> bytes:
        if not self.years:
            return data
        return _YEAR.sub(lambda stamp: b"%d" % (int(stamp[0]) + self.years), data)


def _end(each: socket.socket) -> None:
    with suppress(OSError):  # it was not connected yet, or is no longer
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def engine_relay() -> Iterator[EngineRelay]:
    """One that listens. Its folder is its own, for the path of a socket must be short."""
    folder = tempfile.mkdtemp(prefix="draft-engine-")
    relay = EngineRelay(Path(folder, "docker.sock"))
    assert os.path.exists(ENGINE)
    try:
        relay.listen()
        yield relay
    finally:
        relay.cut()
        shutil.rmtree(folder)
