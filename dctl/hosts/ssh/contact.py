"""The first look at a machine: which host key it shows. Nothing is believed yet."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from dctl.hosts.ssh.config import Way, program, ssh_config
from dctl.hosts.ssh.failures import failure, of_ssh
from dctl.hosts.ssh.known import HostKey, KnownHosts

CONNECT = 10.0
# The best first; what a machine has of them is what we keep.
_ALGORITHMS = "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,rsa-sha2-512,rsa-sha2-256"
_LOOK = (
    "id -un; command -v python3 || echo -; test -d /run/systemd/system && echo systemd || echo -"
)


@contextmanager
def configured(ways: Sequence[Way], known: KnownHosts) -> Iterator[Path]:
    """A folder of ours with the file `config` for OpenSSH's -F."""
    with tempfile.TemporaryDirectory(prefix="draft-ssh-") as folder:
        file = Path(folder, "config")
        file.write_text(ssh_config(ways, known.path, connect_timeout=CONNECT))
        yield file


def host_key(name: str, ways: Sequence[Way], known: KnownHosts) -> HostKey:
    """The key that the target `name` shows now; those on the way to it have to be known."""
    way = next(way for way in ways if way.target.name == name)
    with configured(ways, known) as config:
        shown = config.with_name("shown")
        command = [program("ssh"), "-F", str(config), "-n", "-T"]
        for option in (
            "StrictHostKeyChecking=accept-new",
            f"UserKnownHostsFile={shown}",
            "PreferredAuthentications=none",
            f"HostKeyAlgorithms={_ALGORITHMS}",
        ):
            command += ["-o", option]
        said = _run([*command, name, "true"], way)
        lines = shown.read_text().splitlines() if shown.is_file() else []
    for line in lines:
        if key := HostKey.of(line):
            return replace(key, place=way.place, name=name)
    raise of_ssh(said, way)


def look(name: str, ways: Sequence[Way], known: KnownHosts) -> list[str]:
    """Log in and say what is missing there, one sentence each; raises when we are not let in."""
    way = next(way for way in ways if way.target.name == name)
    with configured(ways, known) as config:
        ssh = [program("ssh"), "-F", str(config), "-n", "-T", name]
        done = subprocess.run(
            [*ssh, _LOOK], capture_output=True, text=True, timeout=3 * CONNECT, check=False
        )
        if done.returncode == 255:
            raise of_ssh(done.stderr, way)
        user, python, init = (*done.stdout.split(), "-", "-", "-")[:3]
        missing = []
        if user != "root":
            asked = subprocess.run([*ssh, "sudo -n true"], capture_output=True, timeout=3 * CONNECT)
            if asked.returncode:
                error = failure("sudo", way)
                missing.append(f"{error.message} ({error.hint})")
    if python == "-":
        missing.append(f"{name} has no python3 (Debian: apt-get install python3)")
    if init == "-":
        missing.append(f"{name} does not run systemd: only containers can be placed there")
    return missing


def _run(command: Sequence[str], way: Way) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=3 * CONNECT, check=False
        )
    except subprocess.TimeoutExpired:
        raise failure("timeout", way, f"no host key within {3 * CONNECT:g}s") from None
    return done.stderr
