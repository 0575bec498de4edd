"""A process of its own that carries out jobs on many machines at once, through pyinfra.

gevent replaces the standard library's sockets and threads, which neither grpc nor Textual
survive: so nothing but this process imports it. The first line of standard input tells the
machines, each further one is a job; standard output has a JSON line for each answer. The end of
standard input is the end.

pyinfra is used below its command line: one greenlet a job, each operation runs at once. Its own
way (prepare all hosts one after the other, then run) reads every fact twice.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import socket  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.fileobject import FileObjectPosix  # noqa: E402
from gevent.lock import BoundedSemaphore, RLock  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from paramiko import (  # noqa: E402
    AuthenticationException,
    BadHostKeyException,
    PasswordRequiredException,
    SSHException,
)
from paramiko.ssh_exception import NoValidConnectionsError  # noqa: E402
from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.exceptions import ConnectError, NestedOperationError  # noqa: E402
from pyinfra.connectors import ssh_util, util  # noqa: E402
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state  # noqa: E402

from dctl.hosts.ssh.known import fingerprint  # noqa: E402

# Commands at once on one connection: sshd allows 10 sessions by default.
_SESSIONS = 6
_BLOCK = 32 * 1024


class RefusalError(Exception):
    """A failure of a known kind; more is said in words and fingerprints."""

    def __init__(self, kind: str, said: str = "", **more: str) -> None:
        super().__init__(said)
        self.kind, self.said, self.more = kind, said, more

    def to_json(self) -> dict[str, str]:
        return {"kind": self.kind, "said": self.said, **self.more}


def _no_password(*_: Any) -> str:
    """pyinfra would ask, and wait for ever."""
    raise RefusalError("sudo")


class Machine:
    """One machine: its connection, made when it is first needed and again after it was cut."""

    def __init__(self, host: Any, connect_timeout: float) -> None:
        self.host = host
        self._patience = connect_timeout
        self._connecting = RLock()
        self.sessions = BoundedSemaphore(_SESSIONS)
        self.operating = BoundedSemaphore(1)  # pyinfra keeps the current operation on its host
        self._early: RefusalError | None = None

    def warm(self) -> None:
        """Connect before there is a job; why that failed is told to the first one."""
        try:
            self._transport()
        except RefusalError as refusal:
            self._early = refusal

    @property
    def sudo(self) -> bool:
        return str(self._transport().get_username()) != "root"

    @property
    def alive(self) -> bool:
        """Whether there is a connection."""
        client = self.host.connector.client
        transport = client.get_transport() if client else None
        return transport is not None and bool(transport.is_active())

    def session(self) -> Any:
        """A channel for one command."""
        return self._transport().open_session(timeout=self._patience)

    def cut(self) -> None:
        """Let go of a connection that does not answer."""
        client = self.host.connector.client
        if client is not None:
            self.host.connector.disconnect()
            client.close()
        self.host.connected = False

    def _transport(self) -> Any:
        with self._connecting:
            early, self._early = self._early, None
            if early is not None:
                raise early
            if not self.alive:
                self.host.connected = False
                self._connect()
                transport = self.host.connector.client.get_transport()
                # Each command is a few small packets: 54 -> 7 to 18 ms.
                if isinstance(transport.sock, socket.socket):
                    transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                transport.set_keepalive(5)
            return self.host.connector.client.get_transport()

    def _connect(self) -> None:
        try:
            with gevent.Timeout(3 * self._patience, TimeoutError("no connection")):
                self.host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            self.cut()
            raise _refusal(error) from error
        except TimeoutError as error:
            self.cut()
            raise RefusalError("timeout", "it takes connections, and says nothing") from error
        self.host.state.activate_host(self.host)


def _refusal(error: BaseException) -> RefusalError:
    """Why there is no connection, from the errors under the one that pyinfra made of them."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    for found in chain:
        if isinstance(found, BadHostKeyException):
            return RefusalError(
                "changed-key",
                known=fingerprint(found.expected_key.get_base64()),
                shown=fingerprint(found.key.get_base64()),
            )
        if isinstance(found, PasswordRequiredException):
            return RefusalError("denied", "the key is encrypted")
        if isinstance(found, AuthenticationException):
            return RefusalError("denied")
        if isinstance(found, socket.gaierror):
            return RefusalError("name")
        if isinstance(found, TimeoutError):
            return RefusalError("timeout", "no connection")
        if isinstance(found, NoValidConnectionsError | ConnectionRefusedError):
            return RefusalError("refused", "nothing listens there")
    words = " ".join(str(found) for found in chain)
    if "No host key for" in words:
        return RefusalError("unknown-key")
    if "banner" in words or "imeout" in words or "timed out" in words:
        return RefusalError("timeout", "it takes the connection, and says nothing")
    if "No authentication methods" in words:
        return RefusalError("denied")
    said = str(chain[-1]) or type(chain[-1]).__name__
    return RefusalError("refused", said)


class Fleet:
    """All machines, and the jobs on them."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._patience = float(setup["connect_timeout"])
        hosts = [(name, {"ssh_hostname": name, **data}) for name, data in setup["hosts"].items()]
        shared = {
            "ssh_config_file": setup["config"],
            "ssh_strict_host_key_checking": "yes",
            "ssh_known_hosts_file": setup["known_hosts"],
            "ssh_paramiko_connect_kwargs": {
                "banner_timeout": self._patience,
                "auth_timeout": self._patience,
                "channel_timeout": self._patience,
            },
        }
        self.inventory = Inventory((hosts, shared))
        # False: facts would be read once more only to tell whether there is a change.
        self.state = State(
            self.inventory, Config(CONNECT_TIMEOUT=round(self._patience)), check_for_changes=False
        )
        self.state.is_executing = True
        # These two are of the whole process, unlike host and configuration, which are a greenlet's.
        ctx_state.set(self.state)
        ctx_inventory.set(self.inventory)
        self._machines = {h.name: Machine(h, self._patience) for h in self.inventory}
        self.pool = Pool(int(setup["parallel"]))
        for machine in self._machines.values():
            if machine.host.name in setup["warm"]:
                self.pool.spawn(machine.warm)

    def do(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out one job; its answer, or why there is none."""
        machine = self._machines[job["host"]]
        try:
            with gevent.Timeout(float(job["timeout"]), TimeoutError()):
                if job["do"] == "run":
                    return {"id": job["id"], **self._run(machine, job)}
                return {"id": job["id"], "steps": self._operate(machine, job)}
        except RefusalError as refusal:
            error = refusal.to_json()
        except TimeoutError:
            machine.cut()
            error = {"kind": "timeout", "said": f"{job['what']} took over {job['timeout']:g}s"}
        except (SSHException, EOFError, OSError) as problem:
            machine.cut()
            if "Timeout" in str(problem):  # no channel was opened
                error = {"kind": "timeout", "said": f"{job['what']} could not begin"}
            else:
                error = {"kind": "cut", "said": str(problem) or type(problem).__name__}
        except Exception as problem:  # noqa: BLE001 (whatever a library raises is told, and stays here)
            error = {"kind": "failed", "said": f"{type(problem).__name__}: {problem}"}
        return {"id": job["id"], "error": error}

    def _run(self, machine: Machine, job: Mapping[str, Any]) -> dict[str, Any]:
        with machine.sessions:
            channel = machine.session()
            try:
                sudo = "sudo -n -H -- " if job["sudo"] and machine.sudo else ""
                channel.exec_command(sudo + job["command"])
                writing = gevent.spawn(_write, channel, job["stdin"].encode())
                errors = gevent.spawn(_read, channel.recv_stderr)
                output = _read(channel.recv)
                code = channel.recv_exit_status()
                said = errors.get().decode(errors="replace")
                writing.join()
            finally:
                channel.close()
        if sudo and code and "a password is required" in said:
            raise RefusalError("sudo")
        if code == -1:
            raise RefusalError("cut", f"while {job['what']}")
        return {"code": code, "out": output.decode(errors="replace"), "err": said}

    def _operate(self, machine: Machine, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        from dctl.hosts.ssh.operations import OPERATIONS

        done: list[dict[str, Any]] = []
        with machine.operating, machine.sessions, self._context(machine):
            sudo = machine.sudo
            for step in job["steps"]:
                if step.get("after") and not any(
                    one["changed"] for one in done if one["id"] in step["after"]
                ):
                    done.append({"id": step["id"], "changed": False, "commands": []})
                    continue
                call = OPERATIONS[step["operation"]]
                done.append(self._step(machine, step, call, sudo=sudo, apply=job["apply"]))
                if "error" in done[-1]:
                    break
        return done

    def _step(
        self, machine: Machine, step: Mapping[str, Any], call: Any, *, sudo: bool, apply: bool
    ) -> dict[str, Any]:
        state, host = self.state, machine.host
        state.is_executing = True
        try:
            if apply:
                meta = call(**step["arguments"], _sudo=sudo)
                commands = list(meta._commands or ())
            else:
                with _planning(state):
                    meta = call(**step["arguments"], _sudo=sudo)
                data = state.get_op_data_for_host(host, meta._hash)
                commands = list(data.command_generator())
        except NestedOperationError as error:
            meta = state.ops[host][error.args[0]].operation_meta
            lines = [line for line in (meta.stderr or meta.stdout or "").splitlines() if line]
            if any("a password is required" in line for line in lines):
                raise RefusalError("sudo") from error
            return {"id": step["id"], "changed": True, "error": _reason(lines)}
        except OSError as error:
            if machine.alive:  # what SFTP says of a disk that is full, and of much else
                said = f"the file could not be written there ({error})"
                return {"id": step["id"], "changed": True, "error": said}
            raise
        changed = {"id": step["id"], "changed": bool(commands)}
        return changed | {"commands": [str(command) for command in commands]}

    @contextmanager
    def _context(self, machine: Machine) -> Iterator[None]:
        with (
            ctx_config.use(self.state.config.copy()),
            ctx_host.use(machine.host),
        ):
            yield


@contextmanager
def _planning(state: Any) -> Iterator[None]:
    """Until an operation is built, which no other greenlet gets in between of."""
    state.is_executing = False
    try:
        yield
    finally:
        state.is_executing = True


def _reason(lines: list[str]) -> str:
    """What a failed command said; of a traceback only what it ends with."""
    trace = any(line.startswith("Traceback") for line in lines)
    return "\n".join(lines[-1:] if trace else lines[-20:])


def _write(channel: Any, data: bytes) -> None:
    try:
        channel.sendall(data)
        channel.shutdown_write()
    except OSError:
        pass  # it ended without reading all; its exit status tells


def _read(receive: Any) -> bytes:
    found = bytearray()
    while block := receive(_BLOCK):
        found += block
    return bytes(found)


def main() -> None:
    """Serve until standard input ends."""
    logging.disable(logging.CRITICAL)  # what is logged may hold secrets, and nobody reads it
    util.getpass = ssh_util.getpass = _no_password
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints
    jobs = FileObjectPosix(0, "rb")
    setup = json.loads(jobs.readline())
    fleet = Fleet(setup)

    def one(line: bytes) -> None:
        answers.write(json.dumps(fleet.do(json.loads(line))) + "\n")

    for line in jobs:
        fleet.pool.spawn(one, line)
    os._exit(0)


if __name__ == "__main__":
    main()
