"""The cluster of blueprints/three-hosts.yaml on three machines, as a user raises it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dctl.hosts.ssh.known import KnownHosts
from tests.support.clusters import ROOT, Cluster
from tests.support.machines import Machine, machines

NAMES = ("core-1", "core-2", "edge-1")


class Three(Cluster):
    """A workspace whose cluster is on `machines`, reached by a key of the user's ssh_config."""

    def __init__(self, folder: Path, machines: dict[str, Machine]) -> None:
        self.machines = machines
        super().__init__(folder, name=f"three-{uuid.uuid4().hex[:8]}")
        self.env["HOME"] = str(folder)
        for name, machine in machines.items():
            self.env[name.upper().replace("-", "_")] = f"deploy@{machine.address}"
            machine.accept(KnownHosts(folder / "config" / "draft" / "known_hosts"))
        config = folder / ".ssh" / "config"
        config.parent.mkdir(mode=0o700)
        config.write_text(f"Host *\n  IdentityFile {machines[NAMES[0]].key}\n")

    def write(self, **changed: str) -> None:
        """The blueprint as it ships; `changed` replaces words of it."""
        text = (ROOT / "blueprints" / "three-hosts.yaml").read_text()
        text = text.replace("name: three-hosts", f"name: {self.name}")
        for before, after in changed.items():
            assert before in text
            text = text.replace(before, after)
        (self.folder / "cluster.yaml").write_text(text)

    def elsewhere(self, folder: Path) -> Three:
        """The same workspace on another computer: it has seen nothing of the cluster yet."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("state", "run"))
        other = object.__new__(Three)
        other.__dict__.update(self.__dict__)
        other.folder = folder
        other.env = {**self.env, "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
        other.env["XDG_CONFIG_HOME"] = str(folder / "config")
        return other


@contextmanager
def three(folder: Path) -> Iterator[Three]:
    """Three machines and a workspace for them; nothing is raised yet."""
    with machines(folder, *NAMES) as made:
        cluster = Three(folder / "workspace", dict(zip(NAMES, made, strict=True)))
        yield cluster
