"""Where everything of one cluster's process runtime stands. Names only: nothing is touched here.

Imported by the shim too, so it stays light.
"""

from __future__ import annotations

from pathlib import Path

from dctl.hosts.state.folder import StateFolder, state_dir

# Ours beside the instances, whose names never begin with a dot.
KEEPER = ".keeper"
SUPERVISORD = ".supervisord"


def instance_dir(cluster: str, name: str) -> Path:
    """Where the files of an instance's spec are written."""
    return Layout(state_dir(cluster)).files(name)


def data_dir(cluster: str, name: str) -> Path:
    """What an instance keeps; only `clean --full` removes it."""
    return Layout(state_dir(cluster)).data(name)


def delivered_file(cluster: str, name: str, secret: str) -> Path:
    """Where an instance reads a secret of the spec."""
    return Layout(state_dir(cluster)).delivered_to(name, secret)


def secret_file(cluster: str, name: str) -> Path:
    """A secret that dctl made for the cluster itself."""
    return Layout(state_dir(cluster)).secret(name)


class Layout(StateFolder):
    """The paths of the process runtime under one cluster's state folder."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.config = state / "supervisord.conf"
        self.manifests = state / "manifests"
        self.run = state / "run"
        self.logs = state / "logs"
        self.delivered = state / "delivered"  # secrets; a link to where they are in memory
        self.socket = self.run / "socket"  # a file that holds the socket's path
        self.pid_file = self.run / ".supervisord.pid"
        self.guard = self.run / ".supervisord.lock"
        self.supervisor_log = self.logs / ".supervisord.log"
        self.keeper_log = self.logs / ".keeper.log"

    def manifest(self, name: str) -> Path:
        return self.manifests / f"{name}.json"

    def running(self, name: str) -> Path:
        return self.run / f"{name}.run.json"

    def ended(self, name: str) -> Path:
        return self.run / f"{name}.exit.json"

    def files(self, name: str) -> Path:
        return self.state / "processes" / name

    def data(self, name: str) -> Path:
        return self.state / "data" / name

    def delivered_to(self, name: str, secret: str) -> Path:
        return self.delivered / name / secret

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"
