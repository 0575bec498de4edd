"""The cluster's own secrets: what services join with, what the engine's nodes ask for, and what all
prove themselves with.

dctl makes what the spec does not name, at the first apply, and the cluster's first host keeps it.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe

from chassis.proof import by_nonce, nonce_of
from chassis.tls import Identity
from dctl.engine.catalogue.parts import core_parts, engine_hosts
from dctl.engine.catalogue.site import (
    AUTHORITY,
    ENGINE,
    NONCE,
    OBJECTS,
    engine_secret,
    own_identity,
    own_nonce,
    own_nonces,
)
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
        self._own: Identity | None = None

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

    def identity(self) -> Identity | None:
        """What proves to services that it is dctl who calls; None before one was needed."""
        if self._own is None and (authority := self._first().secret(AUTHORITY)):
            from dctl.secrets.authority import identity

            self._own = Identity.of(identity(authority, "dctl").encode("ascii"))
        return self._own

    def to_keep(self) -> dict[str, str]:
        """What the hosts have to keep, by name; "" keeps what is there, or makes something."""
        engine = {} if self._spec.core.nats is False else {ENGINE: ""}
        engine |= {OBJECTS: ""} if self._keeps_objects else {}
        engine |= self._identities()
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
        """Make the engine's password and the authority, if they are needed and not there: once, so
        the cluster's lock is held. The authority stays with the first host."""
        first = self._first()
        if self._spec.core.nats is not False and not first.secret(ENGINE):
            first.keep_secret(ENGINE, engine_secret())
        if self._keeps_objects and not first.secret(OBJECTS):
            first.keep_secret(OBJECTS, engine_secret(OBJECTS))
        if self._spec.security.tls and not first.secret(AUTHORITY):
            from dctl.secrets.authority import new_authority

            first.keep_secret(AUTHORITY, new_authority(self._spec.name))

    @property
    def _keeps_objects(self) -> bool:
        services = self._spec.services.values()
        return self._spec.core.nats is not False and any(each.objects for each in services)

    def _identities(self) -> dict[str, str]:
        """The key and certificate of each part, by name."""
        authority = self._first().secret(AUTHORITY) if self._spec.security.tls else ""
        if not authority:
            return {}
        from dctl.secrets.authority import identity

        hosts = {"nats": engine_hosts(self._spec)}
        return {
            own_identity(part): identity(authority, part, hosts.get(part, ()))
            for part in (*core_parts(self._spec.core), *self._spec.services)
        }
