"""What a machine keeps of a cluster, whatever runs there: lock, journal, releases, secrets, and
the marks on what dctl itself stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from dctl.hosts.base import Holder, Json, Lease
from dctl.hosts.state.marks import Mark
from dctl.hosts.systemd import lease
from dctl.hosts.systemd.ask import Agent

_log = logging.getLogger(__name__)


class MachineKeeping:
    """Kept through the agent on another machine, in the cluster's folder of `Layout`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def claim(self) -> None:
        """Nothing: the folder there is the cluster's, from whatever checkout it is changed."""

    def keep_secret(self, name: str, text: str = "") -> None:
        self._agent.ask("keep_secret", {"name": name, "text": text})

    def secret(self, name: str) -> str:
        return str(self._agent.ask("secret", {"name": name}))

    def lock(self, holder: str) -> AbstractContextManager[Lease]:
        return lease.held(self._agent, holder)

    def holder(self) -> Holder | None:
        return lease.of_note(self._agent.ask("holder"))

    def break_lock(self) -> None:
        self._agent.ask("break_lock")

    def record(self, entry: Mapping[str, Json]) -> None:
        self._agent.ask("record", entry)

    def journal(self) -> Sequence[Mapping[str, Json]]:
        found = []
        for number, line in enumerate(str(self._agent.ask("journal")).splitlines(), 1):
            try:
                found.append(json.loads(line))
            except ValueError:
                if line:
                    host = self._agent.host
                    _log.warning("%s: entry %d of the journal is not whole", host, number)
        return found

    def keep_release(self, release: Mapping[str, Json]) -> None:
        self._agent.ask("keep_release", release)

    def releases(self) -> Sequence[Mapping[str, Json]]:
        return list(self._agent.ask("releases"))

    def keep_machines(self, notes: Mapping[str, Json]) -> None:
        self._agent.ask("keep_machines", notes)

    def machines(self) -> Mapping[str, Json]:
        return dict(self._agent.ask("machines"))

    def forget(self) -> None:
        self._agent.ask("forget")


class MachineMarks:
    """The marks, kept there: who looks from another computer sees them, too."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def all(self) -> Mapping[str, str]:
        return dict(self._agent.ask("marks"))

    def set(self, instance: str, mark: Mark) -> None:
        self._agent.ask("mark", {"name": instance, "mark": mark})

    def clear(self, instance: str) -> None:
        self._agent.ask("mark", {"name": instance, "mark": ""})

    def forget(self) -> None:
        for instance in self.all():
            self.clear(instance)
