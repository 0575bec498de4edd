"""A throwaway cluster, raised by dctl itself in a folder of its own on ports that dctl picks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
core:
  nats: {{listen: 0, monitor: 0, max_store: 64M}}
  blueprint: {{listen: 0}}
  catalyst: {{listen: 0}}
  fuse: {{listen: 0}}
  envoy: {{listen: 0, admin: 0, expose_core: true}}
security: {{nonce: any}}
services:
  echo:
    run: services/examples/echo
    replicas: {replicas}
    health: {{grpc: true}}
    depends_on: {{blueprint: healthy, fuse: healthy}}
{extra}"""


class Cluster:
    """A workspace in `folder`, and dctl run in it as a child process."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        self.folder = folder
        self.name = name
        self.extra = ""  # top-level keys of the spec
        self.state = folder / "state" / "draft" / name
        self.env: dict[str, str] = {
            **os.environ,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "NO_COLOR": "1",
        }
        (folder / "run").mkdir(mode=0o700, parents=True)
        shutil.copytree(ROOT / "services" / "examples", folder / "services" / "examples")
        (folder / "draft.yaml").write_text(f"name: {name}\ncluster: cluster.yaml\n")
        self.write()

    def write(self, *, replicas: int = 1, extra: str = "") -> None:
        """Write the spec anew."""
        text = SPEC.format(name=self.name, replicas=replicas, extra=extra)
        (self.folder / "cluster.yaml").write_text(text + self.extra)

    def dctl(
        self, *arguments: str, code: int | None = 0, timeout: float = 90, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run dctl; `code` is the exit status that it must have, None for any."""
        done = subprocess.run(
            [sys.executable, "-m", "dctl", *arguments],
            cwd=self.folder,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        said = f"dctl {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, f"exit {done.returncode}: {said}"
        assert "Traceback" not in done.stdout + done.stderr, said
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """dctl in the background; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "dctl", *arguments],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def json(self, *arguments: str) -> Any:
        """The document that dctl prints with -o json."""
        return json.loads(self.dctl(*arguments, "-o", "json").stdout)

    def status(self) -> dict[str, Mapping[str, Any]]:
        """The rows of `infra status` by name."""
        return {row["name"]: row for row in self.json("infra", "status")["items"]}

    def pids(self) -> dict[str, int]:
        """The process of each instance."""
        return {name: row["pid"] for name, row in self.status().items() if row["pid"]}

    def address(self, instance: str, port: int = 0) -> str:
        """host:port of the `port`-th port of an instance."""
        return str(self.status()[instance]["address"].split(", ")[port])

    def processes(self) -> list[psutil.Process]:
        """Every process on this machine that belongs to this cluster: one that names its folder
        on the command line, in its environment or as working directory."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), process.cwd(), *process.environ().values()]
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            if process.pid != os.getpid() and any(str(self.folder) in word for word in words):
                found.append(process)
        return found

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        self.dctl("infra", "clean", "--full", "-y", code=None)
        for process in self.processes():
            process.kill()


@contextmanager
def raised(folder: Path, **spec: Any) -> Iterator[Cluster]:
    """A cluster that stands, and is gone afterwards."""
    cluster = Cluster(folder)
    cluster.write(**spec)
    try:
        cluster.dctl("infra", "apply", "-y")
        yield cluster
    finally:
        cluster.close()
