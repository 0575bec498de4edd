"""The ways to all targets as one ssh_config, which OpenSSH and the worker read alike."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dctl.errors import DctlError, NotFoundError
from dctl.hosts.ssh.known import place
from dctl.hosts.ssh.target import Target

SYSTEM = Path("/etc/ssh/ssh_config")
# What of the user's own configuration counts; host keys and prompts are dctl's business.
_TAKEN = ("identityagent", "proxyjump", "proxycommand", "hostkeyalias")
_NONE = ("none", "")


@dataclass(frozen=True, slots=True)
class Way:
    """What ssh's configuration makes of a target: where to connect, as whom, and how else."""

    target: Target
    host: str
    port: int
    user: str
    keys: tuple[Path, ...] = ()
    more: Mapping[str, str] | None = None

    @property
    def place(self) -> str:
        """Under which name its key is known."""
        return (self.more or {}).get("hostkeyalias") or place(self.host, self.port)

    @property
    def address(self) -> str:
        """For people."""
        shown = self.host if self.port == 22 else f"{self.host}:{self.port}"
        return f"{self.user}@{shown}" if self.user else shown


def ways(targets: Sequence[Target]) -> list[Way]:
    """Each target as ssh would reach it, aliases of the user's configuration honoured."""
    own = Path.home() / ".ssh" / "config"
    if not own.is_file():
        return [plain(target) for target in targets]
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(f'Include "{own}"\nInclude "{SYSTEM}"\n')
        file.flush()
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda target: _asked(target, Path(file.name)), targets))


def plain(target: Target) -> Way:
    """The way to a target without any configuration."""
    import getpass

    return Way(
        target,
        host=target.ssh.host,
        port=target.ssh.port or 22,
        user=target.ssh.user or getpass.getuser(),
        keys=(target.key,) if target.key else (),
    )


def _asked(target: Target, file: Path) -> Way:
    command = [program("ssh"), "-F", str(file), "-G"]
    if target.ssh.user:
        command += ["-l", target.ssh.user]
    if target.ssh.port:
        command += ["-p", str(target.ssh.port)]
    done = subprocess.run([*command, "--", target.ssh.host], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise DctlError(f"ssh does not understand its configuration: {lines[-1]}")
    return of_answer(target, done.stdout)


def of_answer(target: Target, answer: str) -> Way:
    """What `ssh -G` printed about a target. Pure but for the look which keys are there."""
    said: dict[str, str] = {}
    keys = []
    for line in answer.splitlines():
        name, _, value = line.partition(" ")
        if name == "identityfile":
            keys.append(Path(value).expanduser())
        else:
            said.setdefault(name, value)
    more = {name: said[name] for name in _TAKEN if said.get(name, "none") not in _NONE}
    # ssh lists its default names too, there or not.
    chosen = [target.key] if target.key else [key for key in keys if key.is_file()]
    return Way(target, said["hostname"], int(said["port"]), said["user"], tuple(chosen), more)


def ssh_config(ways: Iterable[Way], known_hosts: Path, *, connect_timeout: float) -> str:
    """One block for each target, under its name. Strict: only accepted keys, and no questions."""
    return "\n".join(_block(way, known_hosts, connect_timeout) for way in ways)


def _block(way: Way, known_hosts: Path, connect_timeout: float) -> str:
    lines = {
        "HostName": way.host,
        "User": way.user,
        "UserKnownHostsFile": _quoted(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "BatchMode": "yes",
        "ConnectTimeout": str(max(1, round(connect_timeout))),
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
    }
    if way.port != 22:  # pyinfra takes a port of a jump host that is written down for a special one
        lines["Port"] = str(way.port)
    if way.target.key:
        lines["IdentitiesOnly"] = "yes"
    names = {"identityagent": "IdentityAgent", "proxyjump": "ProxyJump",
             "proxycommand": "ProxyCommand", "hostkeyalias": "HostKeyAlias"}  # fmt: skip
    lines |= {names[name]: value for name, value in (way.more or {}).items()}
    if way.target.via:
        lines.pop("ProxyCommand", None)
        lines["ProxyJump"] = way.target.via
    text = [f"Host {way.target.name}", *(f"  {name} {value}" for name, value in lines.items())]
    text += [f"  IdentityFile {_quoted(key)}" for key in way.keys]
    return "\n".join(text) + "\n"


def _quoted(path: Path) -> str:
    return f'"{path}"' if " " in str(path) else str(path)


def program(name: str) -> str:
    """The path of one of OpenSSH's programs."""
    found = shutil.which(name)
    if found is None:
        raise NotFoundError(
            f"there is no {name} command on this machine",
            hint="install the OpenSSH client (Debian: apt-get install openssh-client)",
        )
    return found
