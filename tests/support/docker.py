"""A Docker engine for tests: a tiny image made without a network, and clusters that are gone
afterwards whatever happened.

Where no engine answers, or there is no busybox for the image, its tests skip and say why.
"""

from __future__ import annotations

import atexit
import functools
import io
import re
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dctl.hosts.base import Endpoint, Kind, Need, Observed, Resource, State
from dctl.hosts.docker import ContainerSpec, DockerHost, DockerReader, PublishedPort
from tests.support.waiting import wait_until

SHELL = ("sh", "-c")
# Ends at once when told to, with status 0 as good servers do.
FOREVER = (*SHELL, "trap 'exit 0' TERM; echo up; while :; do sleep 1000 & wait $!; done")
_PASSWD = "root:x:0:0::/:/bin/sh\napp:x:1234:2345::/:/bin/sh\n"
_GROUP = "root:x:0:\napp:x:2345:\nother:x:3456:\n"
_APPLETS = (
    "sh",
    "sleep",
    "cat",
    "stat",
    "nc",
    "id",
    "env",
    "true",
    "false",
    "dd",
    "seq",
    "rm",
    "timeout",
)


def docker(*arguments: str, text: str | None = None, check: bool = True) -> str:
    """The docker command line: somebody who is not dctl."""
    done = subprocess.run(
        ["docker", *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout.strip()


@functools.cache
def image() -> str:
    """The tag of the test image, made on the first call; skips the test where it cannot be."""
    if shutil.which("docker") is None:
        pytest.skip("no docker command here: tests of the container runtime are left out")
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no Docker engine answers: tests of the container runtime are left out")
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("no busybox for the test image (Debian: apt-get install busybox-static)")
    tag = f"draft-test-{uuid.uuid4().hex[:8]}:1"
    changes = ("ENV BUILT_IN=yes", 'CMD ["sh", "-c", "echo the image; sleep 1000"]')
    atexit.register(docker, "rmi", "--force", tag, check=False)
    make_image(tag, *changes, busybox=Path(busybox))
    return tag


def make_image(tag: str, *changes: str, busybox: Path | None = None) -> None:
    """Import a root file system of busybox alone; `changes` are lines of a Dockerfile."""
    found = busybox or Path(shutil.which("busybox") or "busybox")
    options = [word for change in changes for word in ("--change", change)]
    subprocess.run(
        ["docker", "import", *options, "-", tag],
        input=_root(found),
        capture_output=True,
        timeout=60,
        check=True,
    )


def _root(busybox: Path) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "etc", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
        for file in (busybox, *_libraries(busybox)):
            place = "bin/busybox" if file == busybox else str(file).lstrip("/")
            tar.add(file.resolve(), place)
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for path, text in (("etc/passwd", _PASSWD), ("etc/group", _GROUP)):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


def _libraries(program: Path) -> list[Path]:
    """What a busybox that is not static needs."""
    said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", said)]


class Containers:
    """A cluster of the container runtime: its two faces, and what a test asks about it."""

    def __init__(self, workspace: Path, name: str = "") -> None:
        self.name = name or f"test-{uuid.uuid4().hex[:8]}"
        self.workspace = workspace
        self.host = DockerHost(self.name, workspace=workspace)
        self.reader = DockerReader(self.name, workspace=workspace)

    def resource(
        self,
        name: str = "a-1",
        *script: str,
        needs: tuple[str, ...] = (),
        at: dict[str, int] | None = None,
        picked: dict[str, int] | None = None,
        **spec: Any,
    ) -> Resource:
        """What stays, or a shell script. `at` (port name -> port in the container) is published
        on 127.0.0.1, on the ports `picked` or others."""
        ports = {
            name: Endpoint(
                "127.0.0.1", (picked or {}).get(name) or self.host.free_port("127.0.0.1")
            )
            for name in at or {}
        }
        asked = ContainerSpec(
            image=spec.pop("image", "") or image(),
            command=spec.pop("command", (*SHELL, *script) if script else FOREVER),
            ports={port: PublishedPort(inside) for port, inside in (at or {}).items()},
            stop_timeout=spec.pop("stop_timeout", 1.0),
            **spec,
        )
        return Resource(
            kind=Kind.CONTAINER,
            name=name,
            host="local",
            service=name.rpartition("-")[0],
            spec=asked.to_json(),
            ports=ports,
            needs=tuple(map(Need, needs)),
        )

    def ensure(self, name: str = "a-1", *script: str, **more: Any) -> Resource:
        asked = self.resource(name, *script, **more)
        self.host.ensure(asked)
        return asked

    def container(self, name: str = "a-1") -> str:
        return f"draft-{self.name}-{name}"

    def seen(self, name: str = "a-1") -> Observed:
        return next(o for o in self.reader.observe() if o.name == name)

    def await_state(self, state: State, name: str = "a-1") -> Observed:
        wait_until(lambda: self.seen(name).state is state, within=20)
        return self.seen(name)

    def await_output(self, start: str, name: str = "a-1") -> None:
        """Until a line that begins so is the last that it printed: it is past its beginning."""

        def said() -> bool:
            last = list(self.reader.logs(name, lines=1))
            return bool(last) and last[0].startswith(start)

        wait_until(said, within=20)

    def id(self, name: str = "a-1") -> str:
        return docker("inspect", "--format", "{{.Id}}", self.container(name))

    def inside(self, *argv: str, name: str = "a-1") -> str:
        return docker("exec", self.container(name), *argv)

    def everything(self) -> list[str]:
        """Names of all that is ours on the engine: containers, networks, volumes."""
        label = f"label=draft.cluster={self.name}"
        found = docker("ps", "-a", "--filter", label, "--format", "{{.Names}}")
        found += "\n" + docker("network", "ls", "--filter", label, "--format", "{{.Name}}")
        found += "\n" + docker("volume", "ls", "--filter", label, "--format", "{{.Name}}")
        return sorted(found.split())

    def close(self) -> None:
        """Leave nothing, even where the code under test fails."""
        prefix = f"draft-{self.name}"
        for kind, listing, removal in (
            ("{{.ID}}", ("ps", "-a"), ("rm", "-f", "-v")),
            ("{{.ID}}", ("network", "ls"), ("network", "rm")),
            ("{{.Name}}", ("volume", "ls"), ("volume", "rm", "-f")),
        ):
            for which in (f"label=draft.cluster={self.name}", f"name={prefix}"):
                for one in docker(*listing, "--filter", which, "--format", kind).split():
                    docker(*removal, one, check=False)


@contextmanager
def containers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Containers]:
    """A cluster of its own under `folder`; skips the test where there is no engine."""
    image()
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    made = Containers(folder)
    try:
        yield made
    finally:
        made.close()
