"""Three engines and two Blueprints, each as on a machine of its own, with links that can be cut.

They run as dctl has them run, with its own configuration of the engine; what is killed or ends by
itself is started again at once.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from string import Template

from dctl.engine import catalogue
from tests.support.links import Links, linked
from tests.support.nats import nats_server
from tests.support.services import serving
from tests.support.waiting import wait_until

ENGINES = ["nats-1", "nats-2", "nats-3"]
BLUEPRINTS = ["blueprint-1", "blueprint-2"]
CLIENTS = "clients"
"""The machine of whoever uses a Blueprint."""
_CLIENT, _MONITOR, _CLUSTER, _BLUEPRINT = 4222, 8222, 6222, 2221


class Apart:
    """The five nodes. `secret` is the file of the engine's password."""

    def __init__(self, folder: Path, links: Links) -> None:
        self.links = links
        self.secret = folder / "engine"
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._doing = ExitStack()
        self._lock = threading.RLock()
        self._closing = threading.Event()

    def open(self) -> None:
        """Return once both Blueprints serve."""
        self.secret.write_text('engine: "of-a-test"\n')
        ports = dict.fromkeys(ENGINES, _CLIENT) | dict.fromkeys(BLUEPRINTS, _BLUEPRINT)
        targets = [f"{self.links.address(node)}:{port}" for node, port in ports.items()]
        doors = self._doing.enter_context(self.links.doors(CLIENTS, targets))
        self._addresses = dict(zip(ports, doors, strict=True))
        for node in (*ENGINES, *BLUEPRINTS):
            self._start(node)
        reviver = threading.Thread(target=self._revive, daemon=True)
        reviver.start()
        self._doing.callback(reviver.join)
        for node in BLUEPRINTS:
            wait_until(lambda node=node: serving(self.address(node)), within=60)

    def close(self) -> None:
        """End all of it."""
        with self._lock:
            self._closing.set()
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._doing.close()

    def address(self, node: str) -> str:
        """Where clients reach a node, from their own machine."""
        return self._addresses[node]

    def pids(self) -> dict[str, int]:
        """The process of each node."""
        return {node: process.pid for node, process in self._running.items()}

    def kill(self, node: str) -> None:
        """As a crash; it is started again at once."""
        with self._lock:
            self._end(node, signal.SIGKILL)
            self._start(node)

    def restart(self, node: str, meanwhile: Callable[[], None]) -> None:
        """In order; `meanwhile` is done before it is started again."""
        with self._lock:
            self._end(node, signal.SIGTERM)
            meanwhile()
            self._start(node)

    def data(self, node: str) -> Path:
        """Where a node of the engine keeps its data."""
        return self._folder / node

    def logs(self) -> list[Path]:
        """The files of what each node printed."""
        return [*self._folder.glob("*.log")]

    def _revive(self) -> None:
        while not self._closing.wait(0.1):
            with self._lock:
                if self._closing.is_set():
                    return
                ended = [
                    node for node, process in self._running.items() if process.poll() is not None
                ]
                for node in ended:
                    self._start(node)

    def _end(self, node: str, how: signal.Signals) -> None:
        process = self._running[node]
        os.kill(process.pid, how)
        process.wait(20)

    def _start(self, node: str) -> None:
        engine = node in ENGINES
        command, env = self._engine(node) if engine else self._blueprint(node)
        with (self._folder / f"{node}.log").open("ab") as log:
            self._running[node] = subprocess.Popen(
                self.links.inside(node, *command),
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _engine(self, node: str) -> tuple[list[str], Mapping[str, str]]:
        own = self.links.address(node)
        templates = Path(catalogue.__file__).parent
        routes = ", ".join(f'"nats-route://{self.links.address(o)}:{_CLUSTER}"' for o in ENGINES)
        several = Template((templates / "nats-cluster.conf").read_text())
        cluster = {"name": "apart", "listen": f"{own}:{_CLUSTER}", "routes": routes}
        values = {
            "cluster": "apart",
            "name": node,
            "listen": f"{own}:{_CLIENT}",
            "monitor": f"127.0.0.1:{_MONITOR}",
            "store": str(self._folder / node),
            "secret": self.secret.name,
            "max_store": "1G",
            "max_memory": "64M",
            "cluster_of": several.substitute(_without_the_rest(cluster)),
        }
        config = self._folder / f"{node}.conf"
        one = Template((templates / "nats.conf").read_text())
        config.write_text(one.substitute(_without_the_rest(values)))
        return [nats_server(), "--config", str(config)], {}

    def _blueprint(self, node: str) -> tuple[list[str], Mapping[str, str]]:
        own = self.links.address(node)
        return [sys.executable, "-m", "draft_services.blueprint"], {
            "DRAFT_BLUEPRINT_NATS": ",".join(
                f"nats://{self.links.address(each)}:{_CLIENT}" for each in ENGINES
            ),
            "DRAFT_BLUEPRINT_ENGINE": str(self.secret),
            "DRAFT_SERVICE_ENTRYPOINT": f"{own}:{_BLUEPRINT}",
            "DRAFT_SERVICE_NETWORK_BIND_ADDRESS": own,
            "DRAFT_SERVICE_NETWORK_BIND_PORT": str(_BLUEPRINT),
            "DRAFT_INSTANCE": node,
        }


def _without_the_rest(values: Mapping[str, str]) -> Mapping[str, str]:
    """What a spec need not have, such as TLS, is left out."""
    return defaultdict(str, values)


@contextmanager
def apart(folder: Path) -> Iterator[Apart]:
    """A cluster that stands, ended whatever happens. Only where there can be links (`no_links`)."""
    with linked([*ENGINES, *BLUEPRINTS, CLIENTS]) as links:
        cluster = Apart(folder, links)
        try:
            cluster.open()
            yield cluster
        finally:
            cluster.close()
