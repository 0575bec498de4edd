"""Where everything of a cluster stands on a machine under systemd. Names only.

What is asked is in /etc, what is kept is in /var/lib, and what our own services run from is in
/opt/draft, shared by all clusters of the machine.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

UNITS = "/etc/systemd/system"
OPT = "/opt/draft"
_ETC = "/etc/draft"
_VAR = "/var/lib/draft"
_LONGEST_USER = 32


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one cluster."""

    cluster: str

    @property
    def user(self) -> str:
        """Whom its services run as; also a group's name."""
        name = f"draft-{self.cluster}"
        if len(name) <= _LONGEST_USER:
            return name
        digest = hashlib.sha256(self.cluster.encode()).hexdigest()[:8]
        return f"{name[: _LONGEST_USER - 9]}-{digest}"

    @property
    def etc(self) -> str:
        return f"{_ETC}/{self.cluster}"

    @property
    def var(self) -> str:
        return f"{_VAR}/{self.cluster}"

    @property
    def run(self) -> str:
        return f"{self.var}/run"

    @property
    def lock(self) -> str:
        return f"{self.var}/lock"

    def unit(self, instance: str) -> str:
        return f"draft-{self.cluster}-{instance}.service"

    def unit_file(self, instance: str) -> str:
        return f"{UNITS}/{self.unit(instance)}"

    def asked(self, instance: str) -> str:
        """The manifest: what was asked of an instance."""
        return f"{self.etc}/{instance}/asked.json"

    def env(self, instance: str) -> str:
        return f"{self.etc}/{instance}/env"

    def files(self, instance: str) -> str:
        """The folder of what dctl writes for an instance."""
        return f"{self.etc}/{instance}/files"

    def running(self, instance: str) -> str:
        """The manifest that the newest run was started with."""
        return f"{self.run}/{instance}.json"

    def ended(self, instance: str) -> str:
        """How the last run ended."""
        return f"{self.run}/{instance}.exit"

    def data(self, instance: str) -> str:
        """The folder of what an instance keeps."""
        return f"{self.var}/data/{instance}"

    def secrets(self, instance: str) -> str:
        """The folder of an instance's secrets as root keeps them; systemd hands them on."""
        return f"{self.etc}/{instance}/secrets"

    def credential(self, instance: str, secret: str) -> str:
        """The same as the instance reads it: in memory, while it runs."""
        return f"/run/credentials/{self.unit(instance)}/{secret}"

    def secret(self, name: str) -> str:
        return f"{self.var}/secrets/{name}"

    def to_json(self) -> dict[str, str]:
        """What the agent has to know."""
        return {
            "cluster": self.cluster,
            "user": self.user,
            "etc": self.etc,
            "var": self.var,
            "units": UNITS,
            "opt": OPT,
        }
