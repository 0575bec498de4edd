"""Machines for tests: containers that run systemd and an SSH server, with keys of their own.

The image is made once on a machine; where it cannot be, the tests skip and say why.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dctl.hosts.ssh import Target
from dctl.hosts.ssh.config import plain
from dctl.hosts.ssh.known import HostKey, KnownHosts
from dctl.spec.types import SshTarget
from tests.support.base_image import debian_image
from tests.support.waiting import wait_until

_PACKAGES = "python3,openssh-server,iproute2,systemd,systemd-sysv,dbus,procps,sudo,ca-certificates"
_DOCKERFILE = """\
ARG BASE
FROM $BASE
RUN useradd -m -s /bin/bash deploy && useradd -m -s /bin/bash careful \\
 && echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy \\
 && echo 'careful ALL=(ALL) ALL' > /etc/sudoers.d/careful \\
 && rm -f /etc/ssh/ssh_host_* && systemctl disable ssh.service \\
 && systemctl mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \\
      dpkg-db-backup.timer systemd-logind.service getty.target console-getty.service \\
 && mkdir -p /etc/systemd/journald.conf.d \\
 && printf '[Journal]\\nRateLimitIntervalSec=0\\n' > /etc/systemd/journald.conf.d/tests.conf
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"""
_SOCKET = "/var/run/docker.sock"


def _docker(*arguments: str, text: str | None = None, check: bool = True) -> str:
    done = subprocess.run(
        ["docker", *arguments], input=text, capture_output=True, text=True, timeout=120
    )
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@functools.cache
def image() -> str:
    """The image's tag on this machine's engine."""
    if shutil.which("ssh") is None:
        pytest.skip("no remote hosts are tested: the ssh command is not installed")
    base = debian_image(_PACKAGES)
    tag = f"draft-test/machine:{hashlib.sha256((base + _DOCKERFILE).encode()).hexdigest()[:12]}"
    with open(Path(tempfile.gettempdir()) / "draft-test-machine.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _docker("images", "--quiet", tag):
            _docker("build", "--build-arg", f"BASE={base}", "--tag", tag, "-", text=_DOCKERFILE)
    return tag


@dataclass
class Machine:
    """One container, seen as a machine somewhere."""

    name: str
    container: str
    address: str
    key: Path

    def target(self, user: str = "deploy", **more: object) -> Target:
        key = more.pop("key", self.key)
        via = more.pop("via", "")
        assert not more
        assert key is None or isinstance(key, Path)
        return Target(self.name, SshTarget(self.address, user, 22), str(via), key)

    def accept(self, known: KnownHosts) -> HostKey:
        """Store the host key, as a user does who has compared the fingerprint."""
        found = HostKey.of(f"{plain(self.target()).place} {self.host_key()} {self.name}")
        assert found is not None
        known.add(found)
        return found

    def host_key(self) -> str:
        """Type and key, from the machine itself."""
        line = self.inside("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        return " ".join(line.split()[:2])

    def new_host_key(self) -> None:
        """As if the machine had been made anew."""
        script = "rm -f /etc/ssh/ssh_host_*; ssh-keygen -A; systemctl restart ssh"
        self.inside("sh", "-c", script)

    def inside(self, *argv: str, text: str | None = None, check: bool = True) -> str:
        """Somebody at its console, as root."""
        return _docker("exec", *(["-i"] if text else []), self.container, *argv,
                       text=text, check=check)  # fmt: skip

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Connections are taken, and nothing answers."""
        _docker("pause", self.container)
        try:
            yield
        finally:
            _docker("unpause", self.container)


@contextmanager
def machines(folder: Path, *names: str, engine: bool = False) -> Iterator[list[Machine]]:
    """Machines of their own, gone afterwards whatever happened; with this machine's Docker `engine`
    as theirs, if asked for."""
    tag = image()
    key = folder / "key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    mark = f"draft-test-{uuid.uuid4().hex[:8]}"
    try:
        more = ["--volume", f"{_SOCKET}:/docker.sock"] if engine else []
        made = [_start(name, tag, mark, key, more) for name in names]
        for machine in made:
            _ready(machine, key)
            if engine:  # /run is the machine's own
                machine.inside("ln", "-sf", "/docker.sock", _SOCKET)
        yield made
    finally:
        label = f"label=draft-test={mark}"
        for container in _docker("ps", "-aq", "--filter", label, check=False).split():
            _docker("unpause", container, check=False)
            _docker("rm", "-f", "-v", container, check=False)


def _start(name: str, tag: str, mark: str, key: Path, more: list[str]) -> Machine:
    container = f"{mark}-{name}"
    done = subprocess.run(
        ["docker", "run", "--detach", "--name", container, "--label", f"draft-test={mark}",
         "--hostname", name, "--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE",
         "--cgroupns=private",
         "--security-opt", "apparmor=unconfined", "--security-opt", "seccomp=unconfined",
         "--tmpfs", "/run", "--tmpfs", "/run/lock", "--env", "container=docker",
         *more, tag],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no remote hosts are tested: {done.stderr.strip()}")
    look = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return Machine(name, container, _docker("inspect", "--format", look, container), key)


def _ready(machine: Machine, key: Path) -> None:
    def up() -> bool:
        said = machine.inside("systemctl", "is-system-running", check=False)
        return said in ("running", "degraded")

    wait_until(up, within=60)
    # As on every machine but a container, where systemd leaves it; credentials need it.
    machine.inside("mount", "--make-rshared", "/")
    public = key.with_suffix(".pub").read_text()
    script = "ssh-keygen -A; for u in root deploy careful; do h=$(getent passwd $u | cut -d: -f6);"
    script += 'mkdir -p -m 700 $h/.ssh; echo "$0" > $h/.ssh/authorized_keys;'
    script += "chown -R $u $h/.ssh; done; systemctl restart ssh"
    machine.inside("sh", "-c", script, public.strip())
    wait_until(lambda: "22" in machine.inside("ss", "-Hltn", "sport = :22"), within=30)
