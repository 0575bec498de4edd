"""Start, steer and end one cluster's supervisord; its answers become our words here.

The configuration file is always made of all manifests. Writers hold `Supervisor.writing`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from dctl.errors import DctlError, UnreachableError
from dctl.hosts.process import rpc, survivors
from dctl.hosts.process.config import configuration
from dctl.hosts.process.launch import LaunchError, launch
from dctl.hosts.process.layout import KEEPER, Layout
from dctl.hosts.process.records import Manifest
from dctl.hosts.state.files import private_folder, read_json, write_whole

_LOOK = 0.02  # seconds between two looks
_MARGIN = 10.0  # seconds that an answer may come later than the work it reports
_SOCKET_ROOM = 90  # bytes: sun_path has 104 on macOS, and supervisor adds its pid for a moment

Info = Mapping[str, Any]
"""What supervisor says of one process: state, pid, spawnerr, ..."""

# supervisor.states.ProcessStates
STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL = 0, 10, 20, 30, 40, 100, 200
ACTIVE = (STARTING, RUNNING, BACKOFF, STOPPING)


class Supervisor:
    """supervisord of the cluster whose state is in `layout`, on host `host`."""

    def __init__(self, layout: Layout, host: str) -> None:
        self._layout = layout
        self._host = host

    # Looking

    def processes(self) -> dict[str, Info] | None:
        """What it knows of each program (the keeper left out); None when it does not run."""
        try:
            infos = self._call("getAllProcessInfo")
        except rpc.DownError:
            return None
        return {info["name"]: info for info in infos if info["name"] != KEEPER}

    def manifests(self) -> dict[str, Manifest]:
        """What is asked for, by name and in its order."""
        found = {}
        for path in sorted(self._layout.manifests.glob("[!.]*.json")):
            if manifest := read_json(path):  # else removed meanwhile
                found[path.stem] = manifest
        return found

    # Steering

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One writer of manifests and configuration at a time, threads and processes alike."""
        folder = os.open(self._layout.state, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def configure(self, *, quiet: bool = False) -> None:
        """Write the configuration that follows from the manifests."""
        socket = self._socket() or self._choose_socket()
        asked = self.manifests().values()
        text = configuration(self._layout, socket, sys.executable, asked, quiet=quiet)
        write_whole(self._layout.config, text)

    def put(self, name: str) -> None:
        """Start `name`, which is configured and does not run, and wait until it was begun.

        Starts supervisord if it does not run: with nothing else in it, for the rest is started
        in the order of needs; but a supervisord that the keeper revives starts all of it.
        """
        if self.processes() is None:
            self.configure(quiet=True)
            self._launch()
            self.configure()
        else:
            [[_, changed, _]] = self._do("reloadConfig")
            if name in changed:
                self._do("removeProcessGroup", name, unless=rpc.BAD_NAME)
            self._do("addProcessGroup", name, unless=rpc.ALREADY_ADDED)
        self._do("startProcess", name, False, unless=rpc.ALREADY_STARTED)

    def stop(self, names: Collection[str], grace: float) -> None:
        """End `names` together and wait; supervisor itself kills what takes longer than its
        stop timeout, of which `grace` is the longest."""
        deadline = time.monotonic() + grace + _MARGIN
        for name in names:
            self._signal_stop(name)
        while left := self._active(names):
            if time.monotonic() > deadline:
                raise DctlError(
                    f"{', '.join(left)} on {self._host} cannot be ended, not even killed"
                )
            time.sleep(_LOOK)

    def drop(self, name: str) -> None:
        """Forget `name`, which does not run and is configured no more."""
        with suppress(rpc.DownError):
            try:
                self._call("reloadConfig")
                self._call("removeProcessGroup", name)
            except rpc.FaultError as fault:
                if fault.code != rpc.BAD_NAME:
                    self._refused("removeProcessGroup", name, fault)

    def shut_down(self, waves: Sequence[Collection[str]], grace: float) -> None:
        """End the keeper, then each wave of programs, then supervisord, then all survivors."""
        if self.processes() is not None:
            # First of all, so that an end that is meant is not taken for a death.
            with suppress(rpc.DownError):
                self._do("stopProcess", KEEPER, True, unless=rpc.NOT_RUNNING)
            for wave in waves:
                self.stop(wave, grace)
            with suppress(rpc.DownError):
                self._call("shutdown")
            deadline = time.monotonic() + grace + _MARGIN
            while self._layout.pid_file.exists() and time.monotonic() < deadline:
                time.sleep(_LOOK)
        self.end_survivors()

    def end_survivors(self, name: str = "") -> None:
        """End what runs of `name`, or of the cluster, though nobody supervises it."""
        if name:
            survivors.end(survivors.find(self._layout, name))
        else:
            survivors.end_all(self._layout)

    def remove_socket(self) -> None:
        """Remove the socket, and the folder that was made for it alone."""
        if socket := self._socket():
            socket.unlink(missing_ok=True)
            if socket.parent != self._layout.run:
                with suppress(OSError):  # one of an earlier dctl, with other clusters' sockets
                    socket.parent.rmdir()

    def _signal_stop(self, name: str) -> None:
        """Begin to end `name`, if it runs."""
        with suppress(rpc.DownError):
            try:
                self._call("stopProcess", name, False)
            except rpc.FaultError as fault:
                if fault.code not in (rpc.NOT_RUNNING, rpc.BAD_NAME):
                    self._refused("stopProcess", name, fault)

    def _active(self, names: Collection[str]) -> dict[str, int]:
        """Those of `names` that run in some way, and supervisor's word for it."""
        infos = self.processes() or {}
        return {n: i["state"] for n, i in infos.items() if n in names and i["state"] in ACTIVE}

    def _launch(self) -> None:
        self.end_survivors()  # also a supervisord whose socket somebody removed
        try:
            launch(self._layout)
        except LaunchError as error:
            # The keeper may have been faster.
            if self.processes() is not None:
                return
            raise DctlError(
                f"supervisord on {self._host} does not start: {error}",
                hint=f"its log: {self._layout.supervisor_log}",
            ) from error

    def _socket(self) -> Path | None:
        try:
            return Path(self._layout.socket.read_text())
        except FileNotFoundError:
            return None

    def _choose_socket(self) -> Path:
        """Beside the rest when that path is short enough: it then lives as long, whoever logs out
        or cleans temporary folders. Kept in a file, for the environment may differ next time."""
        private_folder(self._layout.run)
        path = self._layout.run / "supervisord.sock"
        if len(os.fsencode(path)) > _SOCKET_ROOM:
            import tempfile  # here, for observing must not pay for it

            # A folder for each cluster: one that others use could be removed under us by the last.
            short = hashlib.sha256(os.fsencode(self._layout.state)).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"draft-{os.getuid()}-{short}"
            private_folder(folder)
            seen = folder.lstat()
            if seen.st_uid != os.getuid() or not stat.S_ISDIR(seen.st_mode) or seen.st_mode & 0o077:
                raise DctlError(
                    f"{folder} is not a private folder of ours", hint="remove it, or set TMPDIR"
                )
            path = folder / "supervisord.sock"
        write_whole(self._layout.socket, str(path))
        return path

    def _call(self, method: str, *arguments: str | bool) -> Any:
        socket = self._socket()
        if socket is None:
            raise rpc.DownError("it was never started")
        try:
            return rpc.call(socket, method, *arguments)
        except rpc.HungError as error:
            raise UnreachableError(
                f"supervisord on {self._host} does not answer: {error}",
                hint=f"kill -9 $(cat {self._layout.pid_file}): it is started again by itself",
            ) from error

    def _do(self, method: str, *arguments: str | bool, unless: int = 0) -> Any:
        """Call what has to succeed, but for the fault `unless`: it is so already."""
        try:
            return self._call(method, *arguments)
        except rpc.DownError as error:
            raise UnreachableError(
                f"supervisord on {self._host} ended meanwhile: {error}", hint="try again"
            ) from error
        except rpc.FaultError as fault:
            if fault.code != unless:
                self._refused(method, str(arguments[0]) if arguments else "", fault)

    def _refused(self, method: str, name: str, fault: rpc.FaultError) -> NoReturn:
        raise DctlError(
            f"{name or 'supervisord'} on {self._host}: supervisord refused {method}: {fault}",
            hint=f"its log: {self._layout.supervisor_log}",
        ) from fault
