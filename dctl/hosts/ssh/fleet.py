"""Commands and operations on many machines: what dctl asks of its worker.

The worker is started with the first job, and keeps its connections until dctl ends. All methods
may be called from several threads; what is asked of different machines runs at once.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctl.errors import DctlError, UnreachableError
from dctl.hosts.ssh.config import Way, ssh_config, ways
from dctl.hosts.ssh.failures import failure
from dctl.hosts.ssh.known import KnownHosts
from dctl.hosts.ssh.target import Target
from dctl.hosts.ssh.tunnel import Tunnel

CONNECT = 10.0  # seconds
# What the worker itself may need to say that something took too long.
_GRACE = 5.0
_PARALLEL = 64


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command on a machine ended with."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """The last line of what it printed."""
        lines = [line for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit status {self.code}"


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the worker (operations.py). It is left out unless one of the steps that
    `after` names has changed something."""

    id: str
    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a step: whether something changes, and the commands for it (secrets hidden)."""

    id: str
    changed: bool
    commands: tuple[str, ...]


def _answer(said: Mapping[str, Any]) -> Answer:
    return Answer(said["code"], said["out"], said["err"])


class Fleet:
    """The machines of a cluster, reached with keys and host keys that are accepted already."""

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        known: KnownHosts | None = None,
        parallel: int = _PARALLEL,
        connect_timeout: float = CONNECT,
    ) -> None:
        self.known = known or KnownHosts()
        self._targets = list(targets)
        self._parallel, self._patience = parallel, connect_timeout
        self._starting = threading.Lock()
        self._sending = threading.Lock()
        self._ids = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._worker: subprocess.Popen[str] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._by_name: dict[str, Way] = {}
        self._tunnels: dict[str, Tunnel] = {}

    def warm(self) -> None:
        """Start the worker, which connects to all machines while something else is done here."""
        self._started()

    def way(self, host: str) -> Way:
        """How a machine is reached."""
        self.config()
        return self._by_name[host]

    def config(self) -> Path:
        """The ssh_config for all of them, for OpenSSH's -F."""
        with self._starting:
            if self._folder is None:
                found = ways(self._targets)
                folder = tempfile.TemporaryDirectory(prefix="draft-ssh-")
                text = ssh_config(found, self.known.path, connect_timeout=self._patience)
                Path(folder.name, "config").write_text(text)
                self._by_name = {way.target.name: way for way in found}
                self._folder = folder
            return Path(self._folder.name, "config")

    def run(
        self,
        host: str,
        command: str,
        *,
        what: str,
        stdin: str = "",
        sudo: bool = True,
        timeout: float = 30.0,
    ) -> Answer:
        """Run one command there to its end; `what` says in an error what was waited for."""
        job = {"do": "run", "command": command, "stdin": stdin, "sudo": sudo}
        return _answer(self._ask(host, job, what, timeout))

    def send(self, host: str, command: str, file: Path, *, what: str, timeout: float) -> Answer:
        """Run one command there that reads a file of this machine through its standard input."""
        job = {"do": "run", "command": command, "file": str(file), "sudo": True}
        return _answer(self._ask(host, job, what, timeout))

    def operate(
        self,
        host: str,
        steps: Sequence[Step],
        *,
        what: str,
        apply: bool = True,
        timeout: float = 60.0,
    ) -> list[Done]:
        """Carry out steps in their order; with `apply` False only tell what each would do."""
        asked = [
            {
                "id": step.id,
                "operation": step.operation,
                "arguments": dict(step.arguments),
                "after": list(step.after),
            }
            for step in steps
        ]
        answer = self._ask(host, {"do": "steps", "steps": asked, "apply": apply}, what, timeout)
        for step in answer["steps"]:
            if "error" in step:
                said = step["error"] or "no reason given"
                raise DctlError(f"{what} on {host} failed at the step {step['id']}: {said}")
        return [Done(s["id"], s["changed"], tuple(s["commands"])) for s in answer["steps"]]

    def tunnel(self, host: str) -> Tunnel:
        """The machine's ports and sockets, here."""
        config = self.config()
        way = self._usable(host)
        with self._starting:
            if host not in self._tunnels:
                self._tunnels[host] = Tunnel(way, config, self.known)
            return self._tunnels[host]

    def close(self) -> None:
        """End the worker and all tunnels."""
        for tunnel in self._tunnels.values():
            tunnel.close()
        self._tunnels.clear()
        worker, self._worker = self._worker, None
        if worker is not None and worker.stdin is not None:
            worker.stdin.close()
            try:
                worker.wait(2)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _usable(self, host: str) -> Way:
        """The way to a host; raises when its key file is not there."""
        way = self.way(host)
        if way.target.key and not way.target.key.is_file():
            raise UnreachableError(
                f"{host}: the key file {way.target.key} is not there",
                hint=f"set hosts.{host}.key to the file of a private key, or leave it out",
            )
        return way

    def _ask(self, host: str, job: Mapping[str, Any], what: str, timeout: float) -> dict[str, Any]:
        way = self._usable(host)
        worker = self._started()
        answer: Future[dict[str, Any]] = Future()
        number = next(self._ids)
        self._waiting[number] = answer
        line = json.dumps({**job, "id": number, "host": host, "what": what, "timeout": timeout})
        try:
            with self._sending:
                assert worker.stdin is not None
                worker.stdin.write(line + "\n")
                worker.stdin.flush()
            # It connects first, which has a time limit of its own.
            said = answer.result(timeout + 3 * self._patience + _GRACE)
        except LateError:
            raise failure("timeout", way, f"{what} took over {timeout:g}s") from None
        except OSError:
            raise self._died() from None
        finally:
            self._waiting.pop(number, None)
        if error := said.get("error"):
            raise failure(
                error["kind"],
                way,
                error.get("said", ""),
                known=error.get("known", ""),
                shown=error.get("shown", ""),
            )
        return said

    def _started(self) -> subprocess.Popen[str]:
        config = self.config()
        with self._starting:
            if self._worker is None or self._worker.poll() is not None:
                self._worker = self._start(config)
            return self._worker

    def _start(self, config: Path) -> subprocess.Popen[str]:
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "dctl.hosts.ssh.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            # Ctrl-C is dctl's business: a step that has begun is not torn apart.
            start_new_session=True,
        )
        setup = {
            "config": str(config),
            "known_hosts": str(self.known.path),
            "connect_timeout": self._patience,
            "parallel": self._parallel,
            "hosts": {t.name: {"ssh_look_for_keys": t.key is None} for t in self._targets},
            "warm": [t.name for t in self._targets if not t.key or t.key.is_file()],
        }
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(setup) + "\n")
        worker.stdin.flush()
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()
        return worker

    def _listen(self, worker: subprocess.Popen[str]) -> None:
        assert worker.stdout is not None
        with worker.stdout as answers:
            for line in answers:
                said = json.loads(line)
                if waiting := self._waiting.get(said["id"]):
                    waiting.set_result(said)
        if worker is self._worker or self._worker is None:
            for waiting in list(self._waiting.values()):
                if not waiting.done():
                    waiting.set_exception(self._died())

    def _died(self) -> DctlError:
        from importlib.util import find_spec

        if find_spec("pyinfra") is None:
            return DctlError(
                "pyinfra is not installed beside dctl", hint="pip install 'draft[ssh]'"
            )
        return DctlError("the worker for remote hosts ended", hint="the same command goes on")
