"""The cluster's own secrets: what services join with, and what the engine's nodes ask for.

dctl makes what the spec does not name, at the first apply, and the cluster's first host keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe

from chassis.proof import by_nonce, nonce_of
from dctl.engine.catalogue.site import ENGINE, NONCE, engine_secret, own_nonce, own_nonces
from dctl.hosts.base import Host
from dctl.secrets.references import secret_name
from dctl.spec import Cluster


class OwnSecrets:
    """Those of one cluster. `first` is the host that keeps them, `value` tells a secret of the
    spec."""

    def __init__(
        self, spec: Cluster, first: Callable[[], Host], value: Callable[[str], str]
    ) -> None:
        self._spec = spec
        self._first = first
        self._value = value

    def nonce(self) -> str:
        """What services join with; "" where any nonce is accepted, or before one was made."""
        match self._spec.security.nonce:
            case "any":
                return ""
            case None:
                return self._first().secret(NONCE)
            case reference:
                return self._value(secret_name(reference))

    def proof(self) -> str:
        """What proves to Blueprint that it is dctl who calls; "" where nobody asks."""
        asked = self._spec.security.calls == "token"
        return by_nonce("dctl", self.nonce()) if asked else ""

    def to_keep(self) -> dict[str, str]:
        """What the hosts have to keep, by name; "" keeps what is there, or makes something."""
        engine = {} if self._spec.core.nats is False else {ENGINE: ""}
        named = self._spec.security.nonce
        if named == "any":
            return engine
        services = own_nonces(self._spec)
        text = self.nonce() if named or services else ""
        if services and not text:
            text = token_urlsafe(32)
        nonces = {own_nonce(service): nonce_of(text, service) for service in services}
        return {NONCE: text, **nonces, **engine}

    def make(self) -> None:
        """Make the engine's password, if there is none: once, so the cluster's lock is held."""
        first = self._first()
        if self._spec.core.nats is not False and not first.secret(ENGINE):
            first.keep_secret(ENGINE, engine_secret())
