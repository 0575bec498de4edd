"""The state folder of one cluster, and what all runtimes keep there. Names only: nothing is
touched here.

Imported by the process runtime's shim too, so it stays light.
"""

from __future__ import annotations

import os
from pathlib import Path


def state_dir(cluster: str) -> Path:
    """The folder of one cluster: $XDG_STATE_HOME/draft/<cluster>, by default in ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute counts as unset.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return base / "draft" / cluster


def config_dir() -> Path:
    """What the user settled for all clusters: $XDG_CONFIG_HOME/draft, by default in ~/.config."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".config") / "draft"


class StateFolder:
    """The paths under one cluster's state folder."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.owner = state / "workspace.json"
        self.lock = state / "lock"
        self.journal = state / "journal.jsonl"
        self.releases = state / "releases"
        self.machines = state / "machines.json"

    def secret(self, name: str) -> Path:
        return self.state / "secrets" / name
