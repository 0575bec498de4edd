"""Clusters of tiny processes under real supervisors, gone after the test whatever happened."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from dctl.hosts.base import Endpoint, Kind, Need, Observed, Resource, State
from dctl.hosts.process import ProcessHost, ProcessReader, ProcessSpec
from tests.support.waiting import wait_until

FOREVER = ("sh", "-c", "echo up; exec sleep 1000")


class Cluster:
    """A cluster of the process runtime: its two faces, and what a test asks about it."""

    def __init__(self, home: Path, name: str = "shop") -> None:
        self.state = home / "draft" / name
        self.workspace = home / "work"
        self.workspace.mkdir(exist_ok=True)
        self.host = ProcessHost(name, workspace=self.workspace)
        self.reader = ProcessReader(name, workspace=self.workspace)

    def ensure(self, name: str, *argv: str, needs: tuple[str, ...] = (), **spec: Any) -> Resource:
        """Run `argv` (by default something that stays) as `name`."""
        ports = {port: _endpoint(wish) for port, wish in spec.get("ports", {}).items()}
        resource = Resource(
            kind=Kind.PROCESS,
            name=name,
            host="local",
            service=name.rpartition("-")[0],
            spec=ProcessSpec(argv=argv or FOREVER, **spec).to_json(),
            ports=ports,
            needs=tuple(Need(need) for need in needs),
        )
        self.host.ensure(resource)
        return resource

    def seen(self, name: str) -> Observed:
        return next(seen for seen in self.reader.observe() if seen.name == name)

    def states(self) -> dict[str, State]:
        return {seen.name: seen.state for seen in self.reader.observe()}

    def pids(self) -> dict[str, int]:
        return {seen.name: seen.pid for seen in self.reader.observe()}

    def await_state(self, name: str, state: State) -> Observed:
        wait_until(lambda: self.seen(name).state is state, within=20)
        return self.seen(name)

    def await_restart(self, name: str, pid: int) -> Observed:
        """Until `name` runs again under another pid than `pid`."""

        def again() -> bool:
            seen = self.seen(name)
            return seen.state is State.RUNNING and seen.pid != pid

        wait_until(again, within=20)
        return self.seen(name)

    def log(self, name: str) -> list[str]:
        return list(self.reader.logs(name, lines=1000))

    def everyone(self) -> dict[int, str]:
        """pid -> command line of each process of this machine that knows the state folder."""
        found = {}
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and any(str(self.state) in word for word in words):
                    found[process.pid] = " ".join(process.cmdline())
            except psutil.Error:
                continue
        return found

    def one(self, program: str) -> int:
        """The pid of "supervisord" or the "keeper"; there is never more than one."""
        wanted = "supervisord.py" if program == "supervisord" else "run.py keeper"
        pids = [pid for pid, command in self.everyone().items() if wanted in command]
        assert len(pids) <= 1, f"{len(pids)} of {program}"
        return pids[0] if pids else 0

    def close(self) -> None:
        try:
            self.host.clean(full=True)
        finally:
            for pid in self.everyone():
                kill(pid)


def kill(pid: int) -> None:
    """kill -9, and wait until it is gone."""
    try:
        process = psutil.Process(pid)
        process.kill()
        wait_until(lambda: not alive(process))
    except psutil.NoSuchProcess:
        pass


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def terminate(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


@contextmanager
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A state home with a short path, as users have it."""
    folder = Path(tempfile.mkdtemp(prefix="draft-"))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def cluster(folder: Path, name: str = "shop") -> Iterator[Cluster]:
    made = Cluster(folder, name)
    try:
        yield made
    finally:
        made.close()


def _endpoint(wish: str) -> Endpoint:
    host, _, port = wish.rpartition(":")
    return Endpoint(host, int(port))
