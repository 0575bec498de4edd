"""The looking face of an engine's containers: nothing here changes anything."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dctl.errors import DctlError, NotFoundError
from dctl.hosts import ports
from dctl.hosts.base import (
    Check,
    Endpoint,
    Identify,
    Kind,
    Observed,
    PortOwner,
    Probe,
    State,
    nobody,
)
from dctl.hosts.docker import logs
from dctl.hosts.docker.client import Engine
from dctl.hosts.docker.naming import INSTANCE, Found, Listed, asked, instances, strangers
from dctl.hosts.docker.observed import ended_well, epoch, observed, read_back
from dctl.hosts.docker.spec import lies
from dctl.hosts.state.folder import StateFolder, state_dir
from dctl.hosts.state.marks import FileMarks, Marks
from dctl.hosts.state.owner import Owner
from dctl.secrets.references import secret_name

_PARALLEL = 8  # containers looked at together: it mostly waits, above all for a remote engine

Images = Callable[[str], Mapping[str, Any] | None]


class DockerReader:
    """Observe the containers of `cluster`, as the checkout at `workspace` sees them."""

    def __init__(
        self,
        cluster: str,
        *,
        workspace: Path,
        host: str = "local",
        engine: Engine | None = None,
        own: Identify = nobody,
    ) -> None:
        self.name = host
        self._own = own
        self._cluster = cluster
        self._folder = StateFolder(state_dir(cluster))
        self._owner = Owner(self._folder, cluster, workspace)
        self._marks: Marks = FileMarks(self._folder.state / "containers")
        self._engine = engine or Engine(host)
        self._timeless: set[str] = set()  # containers without the program timeout
        self._asking: dict[str, threading.Thread] = {}  # checks under way, by instance

    def observe(self) -> Sequence[Observed]:
        """Everything of this cluster, and what stands in its way: containers under its names
        that dctl did not make (their owner is "")."""
        self._owner.refuse_another_checkout()
        listed = self._listed()
        image = functools.cache(self._engine.image)
        marks = functools.cache(self._marks.all)
        ours = list(instances(listed, self._cluster).values())
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="inspect") as pool:
            inspected = list(pool.map(self._inspected, ours))
        seen = [
            *(self._observed(*pair, image, marks) for pair in zip(ours, inspected, strict=True)),
            *(self._stranger(name, c) for name, c in strangers(listed, self._cluster).items()),
        ]
        return sorted((o for o in seen if o), key=lambda o: o.name)

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return self._publisher(endpoint) or ports.owner(endpoint)

    def free_port(self, address: str) -> int:
        return ports.free(address)

    def reach(self, endpoint: Endpoint) -> Endpoint:
        return ports.reachable(endpoint)

    def probe(self, check: Check) -> Probe:
        if check.type == "exec":
            return self._exec(check)
        from dctl.hosts import checks  # here, for a plan probes nothing

        return checks.probe(check, self._own)

    def given(self, name: str) -> Mapping[str, str]:
        found = instances(self._listed(), self._cluster).get(name)
        return self._given_to(found.current) if found and found.current else {}

    def _given_to(self, container: Listed) -> dict[str, str]:
        spec = asked(container.labels) or {}
        texts = {}
        for path, secret in (spec.get("secrets") or {}).items():
            if secret_name(secret) and (text := self._engine.read(container.id, lies(path))):
                texts[secret_name(secret)] = text
        return texts

    def logs(self, name: str, *, lines: int, follow: bool = False) -> Iterator[str]:
        current = self._current(name)
        if not follow:
            return iter(logs.tail(self._engine, current.id, lines))

        def find() -> str | None:
            found = instances(self._listed(), self._cluster).get(name)
            return found.current.id if found and found.current else None

        return logs.follow(self._engine, find, lines)

    def _publisher(self, endpoint: Endpoint) -> PortOwner | None:
        """The container that publishes a port there."""
        for container in self._listed():
            for held in container.published:
                if held.port == endpoint.port and ports.same_address(held.host, endpoint.host):
                    about = self._engine.inspect(container.id)
                    pid = about["State"]["Pid"] if about else 0
                    return PortOwner(pid, f"container {container.name}")
        return None

    def _listed(self) -> list[Listed]:
        return [Listed.of(entry) for entry in self._engine.containers()]

    def _current(self, name: str) -> Listed:
        found = instances(self._listed(), self._cluster).get(name)
        if found is None or found.current is None:
            raise NotFoundError(f"{name} is not on {self.name}", hint="dctl infra status")
        return found.current

    def _inspected(self, found: Found) -> Mapping[str, Any] | None:
        assert found.current is not None
        return self._engine.inspect(found.current.id)

    def _observed(
        self,
        found: Found,
        container: Mapping[str, Any] | None,
        image: Images,
        marks: Callable[[], Mapping[str, str]],
    ) -> Observed | None:
        if container is None or found.current is None:
            return None  # it went between our two looks
        told = ended_well(container) and self._engine.was_told_to_stop(
            found.current.id, since=epoch(container["State"]["FinishedAt"])
        )
        labels = container["Config"]["Labels"]
        wanted = asked(labels)
        spec = None  # that of one that was never finished cannot be told
        if wanted is not None and found.whole:
            tagged = image(wanted["image"])
            same = tagged is not None and tagged["Id"] == container["Image"]
            running = tagged if same else image(container["Image"])
            spec = read_back(container, running, tagged, self._cluster)
        mark = "" if found.current.alive else marks().get(labels[INSTANCE], "")
        return observed(
            container,
            spec,
            host=self.name,
            mark=mark,
            told_to_stop=told,
            ahead=self._engine.ahead,
        )

    def _stranger(self, name: str, container: Listed) -> Observed:
        state = State.RUNNING if container.alive else State.STOPPED
        return Observed(Kind.CONTAINER, name, self.name, state, owner="")

    def _exec(self, check: Check) -> Probe:
        """Run the check in the container of the instance that its target names."""
        command = " ".join(check.argv)
        if check.target in self._asking and self._asking[check.target].is_alive():
            return Probe(False, f"{command} runs since it was asked before, and does not end")
        answers: list[Probe] = []

        def ask() -> None:
            try:
                code, said = self._run_within(check.timeout, check.target, check.argv)
            except DctlError as error:
                answers.append(Probe(False, error.message))
                return
            lines = said.strip().splitlines()
            last = f": {lines[-1]}" if lines else ""
            why = f"{command} ended with exit status {code}{last}"
            answers.append(Probe(code == 0, "" if code == 0 else why))

        asking = self._asking[check.target] = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(check.timeout)
        return (
            answers[0]
            if answers
            else Probe(False, f"{command} did not end within {check.timeout:g}s")
        )

    def _run_within(self, timeout: float, name: str, argv: Sequence[str]) -> tuple[int, str]:
        """Run a command in a container, ended there when it takes longer: the engine has no way
        to end one, so that is for the container's own `timeout`, if there is one."""
        container = self._current(name).id
        if container not in self._timeless:
            bounded = ("timeout", "-s", "KILL", str(math.ceil(timeout)), *argv)
            code, said = self._engine.run(container, bounded)
            if code not in (126, 127) or 'exec: "timeout"' not in said:
                return code, said
            self._timeless.add(container)
        return self._engine.run(container, argv)
