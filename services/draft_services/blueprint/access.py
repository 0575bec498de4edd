"""Who calls, and what they may: callers by their proof, permissions by prefixes of keys, a rate.

Whoever has the cluster's nonce may do everything: the core services, dctl, and every service where
each of them is given it. A service that was given one of its own is what it says that it is, and
may do what the cluster spec permits it; nothing said permits all.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from chassis import proof
from draft_services.blueprint.errors import Denied, Exhausted, NotFound, Unauthenticated
from draft_services.blueprint.nonce import Nonce, admitted
from draft_services.blueprint.tokens import Tokens
from draft_services.engine.store import Key

_BURST = 2.0  # seconds of the rate that may be called at once, after a rest
_MOST = 10_000  # callers that are remembered
# What every service tells of itself, and where all of them look first.
_DESCRIPTORS = "type.googleapis.com/google.protobuf.FileDescriptorSet"
_PUBLIC = ("leader", "fuse_address")


class Verb(StrEnum):
    """What is done to keys."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Permissions:
    """Prefixes of the keys that a service may read and write; None: all."""

    read: tuple[str, ...] | None = None
    write: tuple[str, ...] | None = None


class Caller(NamedTuple):
    """Who calls: a name, the pid of one that is registered, and what it may."""

    name: str
    pid: str = ""
    permissions: Permissions = Permissions()
    full: bool = False
    """It knows the cluster's own nonce: a core service, or dctl."""

    def check_full(self, what: str) -> None:
        """Return if it may do what changes the cluster itself; raises `Denied`."""
        if not self.full:
            raise Denied(f"{self.name} may not {what}: that takes the cluster's own nonce")

    def check(self, verb: Verb, key: Key) -> None:
        """Return if it may do that to a key; raises `Denied`."""
        public = verb is Verb.READ and key.name in _PUBLIC
        if not (public or key.kind == _DESCRIPTORS):
            self.check_prefix(verb, key)

    def check_prefix(self, verb: Verb, key: Key) -> None:
        """Return if it may do that to all keys that begin like that one; raises `Denied`."""
        permissions = self.permissions
        allowed = permissions.read if verb is Verb.READ else permissions.write
        if allowed is None or key.name.startswith(allowed):
            return
        raise Denied(
            f"{self.name} may not {verb} {key.name!r}; it may what begins with: "
            f"{', '.join(allowed) or 'nothing'} (services.{self.name}.permissions of the spec)"
        )


ANYBODY = Caller("anybody", full=True)


class Access:
    """Admits callers. `alive` raises `NotFound` for a pid that is not registered. `required`: each
    has to prove who it is. `rate`: calls a second that one caller may make, 0 for any number."""

    def __init__(
        self,
        tokens: Tokens,
        alive: Callable[[str], Awaitable[None]],
        nonce: Nonce,
        *,
        required: bool,
        permissions: Mapping[str, Permissions],
        rate: float,
    ) -> None:
        self._tokens = tokens
        self._alive = alive
        self._nonce = nonce
        self._required = required
        self._permissions = permissions
        self._rate = rate
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def admit(self, proven: str, peer: str) -> Caller:
        """Who calls, by its proof. Raises `Unauthenticated`, `Denied`, and `Exhausted` for one
        that calls too often."""
        try:
            caller = await self.identify(proven)
        except (Denied, Unauthenticated):
            self.spend(ANYBODY, peer)  # guesses are counted, too
            raise
        self.spend(caller, peer)
        return caller

    def spend(self, caller: Caller, peer: str, calls: int = 1) -> None:
        """Take some of the calls that a caller has left; raises `Exhausted`."""
        if self._rate and calls > 0:
            self._spend(caller.pid or f"{caller.name} at {peer}", calls)

    async def identify(self, proven: str) -> Caller:
        """Who proves that; anybody, where nobody is asked. Raises as `admit` does."""
        if not self._required:
            return ANYBODY
        match proof.read(proven):
            case proof.Nonce(name, secret):
                return self._of(name, "", full=admitted(self._nonce, name, secret))
            case str(token):
                claims = await self._tokens.read(token)
                try:
                    await self._alive(claims.pid)
                except NotFound as error:
                    raise Unauthenticated(f"authorization: {error}; initialize anew") from None
                return self._of(claims.name, claims.pid, full=claims.full)
        raise Unauthenticated(
            "authorization: this cluster wants to know who calls (security.calls: token): "
            "send the token of Initialize as `Bearer TOKEN`"
        )

    def _of(self, name: str, pid: str, *, full: bool) -> Caller:
        permissions = Permissions() if full else self._permissions.get(name, Permissions())
        return Caller(name, pid, permissions, full)

    def _spend(self, who: str, calls: int) -> None:
        now = time.monotonic()
        most = self._rate * _BURST
        left, since = self._spent.pop(who, (most, now))
        left = min(most, left + (now - since) * self._rate)
        self._spent[who] = (left - min(calls, left), now)
        if len(self._spent) > _MOST:
            self._spent.popitem(last=False)
        if left < min(calls, most):
            raise Exhausted(
                f"{who} calls more often than {self._rate:g} times a second "
                "(security.rate of the spec); wait a moment"
            )
