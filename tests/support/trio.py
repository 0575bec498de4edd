"""A cluster whose engine has three nodes, with two Blueprints before it, raised by dctl."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.clusters import Cluster

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
core:
  nats: {{replicas: {nodes}, listen: 0, monitor: 0, cluster: 0, max_store: 64M}}
  blueprint: {{listen: 0, replicas: 2}}
  catalyst: {{listen: 0}}
  fuse: false
  envoy: false
"""


class Trio(Cluster):
    def does(self, *arguments: str) -> bool:
        """Whether dctl could do it now."""
        return self.dctl(*arguments, code=None).returncode == 0

    @property
    def secret(self) -> Path:
        """The file of the engine's password."""
        return self.state / "secrets" / "engine"

    def kill(self, node: str) -> None:
        """As a crash; its supervisor starts it again."""
        os.kill(self.pids()[node], signal.SIGKILL)

    def logs(self) -> list[Path]:
        """The files of what each node printed."""
        return [*(self.state / "logs").glob("*.log")]

    def engine(self) -> str:
        return self.dctl("cluster", "status", code=None).stdout

    def write(self, nodes: int = 3, **_: object) -> None:
        (self.folder / "cluster.yaml").write_text(SPEC.format(name=self.name, nodes=nodes))


@contextmanager
def raised_trio(folder: Path, nodes: int = 3) -> Iterator[Trio]:
    """One that stands, taken down whatever happens."""
    made = Trio(folder)
    made.write(nodes)
    try:
        made.dctl("infra", "apply", "-y")
        yield made
    finally:
        made.close()
