"""A process of its own that carries out jobs on many machines at once, through pyinfra.

gevent replaces the standard library's sockets and threads, which neither grpc nor Textual
survive: so nothing but this process imports it. The first line of standard input tells the
machines, each further one is a job; standard output has a JSON line for each answer. The end of
standard input is the end.

pyinfra is used below its command line: one greenlet a job, each operation runs at once. Its own
way (prepare all hosts one after the other, then run) reads every fact twice.
"""

import gc
import sys

from gevent import events, monkey

# What this process is waited for is mostly its imports. They make no garbage, ...
gc.disable()
# ... nobody has plugins for gevent, which would look through all installed packages for them at
# each of its 25 patches, and paramiko needs invoke for `Match exec` alone, which we never write.
events.notify_and_call_entry_points = events.notify
sys.modules["invoke"] = None  # type: ignore[assignment]
monkey.patch_all()

import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
from collections.abc import Iterator, Mapping  # noqa: E402
from contextlib import contextmanager, suppress  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.fileobject import FileObjectPosix  # noqa: E402
from gevent.pool import Pool  # noqa: E402
from paramiko import SSHException  # noqa: E402
from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.exceptions import NestedOperationError  # noqa: E402
from pyinfra.connectors import ssh_util, util  # noqa: E402
from pyinfra.context import ctx_config, ctx_host, ctx_inventory, ctx_state  # noqa: E402

from dctl.hosts.ssh.machine import Machine, RefusalError, SilentError  # noqa: E402

_BLOCK = 32 * 1024


def _no_password(*_: Any) -> str:
    """pyinfra would ask, and wait for ever."""
    raise RefusalError("sudo")


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
            with gevent.Timeout(float(job["timeout"]), TimeoutError()), machine.heard():
                if job["do"] == "run":
                    return {"id": job["id"], **self._run(machine, job)}
                return {"id": job["id"], "steps": self._operate(machine, job)}
        except RefusalError as refusal:
            error = refusal.to_json()
            if refusal.kind == "cut":
                error["said"] = " ".join(filter(None, (f"during {job['what']}", refusal.said)))
        except SilentError as silence:
            machine.cut()
            error = {"kind": "timeout", "said": f"{silence} while it was waited for: {job['what']}"}
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
                writing = gevent.spawn(_write, machine, channel, _blocks(job))
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
            raise RefusalError("cut")
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
            if not machine.alive:
                raise RefusalError("cut", f"at the step {step['id']}") from error
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


def _blocks(job: Mapping[str, Any]) -> Iterator[bytes]:
    """What a command reads."""
    if "file" not in job:
        yield job["stdin"].encode()
        return
    with open(job["file"], "rb") as file:
        while block := file.read(_BLOCK):
            yield block


def _write(machine: Machine, channel: Any, blocks: Iterator[bytes]) -> None:
    # A command that ends without reading all tells so by its exit status.
    with suppress(OSError):
        try:
            for block in blocks:
                channel.sendall(block)
                machine.hear()
        finally:
            channel.shutdown_write()


def _read(receive: Any) -> bytes:
    found = bytearray()
    while block := receive(_BLOCK):
        found += block
    return bytes(found)


def main() -> None:
    """Serve until standard input ends."""
    gc.freeze()
    gc.enable()
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
