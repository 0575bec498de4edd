"""Where everything of one cluster's process runtime stands. Names only: nothing is touched here.

Imported by the shim too, so it stays light.
"""

from __future__ import annotations

import os
from pathlib import Path

# Ours beside the instances, whose names never begin with a dot.
KEEPER = ".keeper"
SUPERVISORD = ".supervisord"


def state_dir(cluster: str) -> Path:
    """The folder of one cluster: $XDG_STATE_HOME/draft/<cluster>, by default in ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute counts as unset.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "draft" / cluster


def instance_dir(cluster: str, name: str) -> Path:
    """Where the files of an instance's spec are written."""
    return Layout(state_dir(cluster)).files(name)


def data_dir(cluster: str, name: str) -> Path:
    """What an instance keeps; only `clean --full` removes it."""
    return Layout(state_dir(cluster)).data(name)


def secret_file(cluster: str, name: str) -> Path:
    """A secret that dctl made for the cluster itself."""
    return Layout(state_dir(cluster)).secret(name)


class Layout:
    """The paths under one cluster's state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.owner = state / "workspace.json"
        self.lock = state / "lock"
        self.journal = state / "journal.jsonl"
        self.config = state / "supervisord.conf"
        self.manifests = state / "manifests"
        self.run = state / "run"
        self.logs = state / "logs"
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

    def secret(self, name: str) -> Path:
        return self.state / "secrets" / name

    def data(self, name: str) -> Path:
        return self.state / "data" / name

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"
