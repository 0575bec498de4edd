"""Whose cluster it is: one checkout of this user's, which the state folder names."""

from __future__ import annotations

from pathlib import Path

from dctl.errors import DctlError
from dctl.hosts.state.files import read_json
from dctl.hosts.state.folder import StateFolder


class Owner:
    """The checkout at `workspace`, as the owner of `cluster`."""

    def __init__(self, folder: StateFolder, cluster: str, workspace: Path) -> None:
        self.cluster = cluster
        self.workspace = workspace.resolve()
        self._folder = folder

    def refuse_another_checkout(self) -> None:
        """Raise when the cluster's name is in use by another checkout."""
        owner = read_json(self._folder.owner)
        if owner is None or owner["workspace"] == str(self.workspace):
            return
        if not Path(owner["workspace"]).is_dir():
            return  # it was moved here, or removed: the cluster is its heir's
        raise DctlError(
            f'a cluster named "{self.cluster}" belongs to the checkout at {owner["workspace"]}',
            hint="name this one differently, or there: dctl infra clean --full",
        )
