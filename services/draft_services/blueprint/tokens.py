"""Signed proofs of identity: JSON Web Tokens over Ed25519.

The signing keys lie in a stream of their own, never in the public key/value space, so that every
Blueprint on the engine accepts what another one issued. A key signs for as long as a token lives;
it is kept until the last token that it signed has run out.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from draft_services.blueprint.errors import Denied
from draft_services.engine.errors import EngineError, Replaced, Unavailable
from draft_services.engine.store import Key, Store

logger = logging.getLogger(__name__)

_ALGORITHM = "EdDSA"
_ISSUER = "draft.blueprint"
_KIND = "ed25519"
_REMEMBERED = 20_000  # tokens that were read
_LOOK = 3600.0  # seconds between looks at the age of the keys
_SKEW = 60.0  # seconds that clocks may differ
_FORGERS = 0.2  # seconds between reads of the keys for a token of a key that nobody knows


@dataclass(frozen=True, slots=True)
class Token:
    """A token; its `jwt` is a secret and stays out of every text about it."""

    id: str
    jwt: str = field(repr=False)


class Claims(NamedTuple):
    """What a token says of who has it: its process, the service's name, and whether it knew the
    cluster's own nonce."""

    pid: str
    name: str
    full: bool


class Tokens:
    """Issues and verifies; `open` it before use."""

    def __init__(self, store: Store, *, lifetime: float) -> None:
        self._store = store
        self._lifetime = lifetime
        self._public: dict[str, Ed25519PublicKey] = {}
        self._read: dict[str, tuple[Claims, float]] = {}  # and when it runs out
        self._looking = asyncio.Lock()
        self._loaded = 0.0  # when the keys were read
        self._signing: tuple[str, Ed25519PrivateKey] | None = None

    async def open(self) -> None:
        """Read the signing keys; make the first one."""
        await self._load()
        if self._signing is None:
            await self._make_key()

    async def rotate(self) -> None:
        """Sign with a new key when the one of now is as old as a token may become, and forget those
        of which every token has run out; for ever."""
        while True:
            try:
                await self._rotate()
            except Replaced:
                raise
            except EngineError as error:  # a full engine, too
                logger.info("the signing keys are looked at again later: %s", error)
            await asyncio.sleep(min(self._lifetime / 4, _LOOK))

    async def _rotate(self) -> None:
        await self._load()
        made = sorted((_made(kid), kid) for kid in self._public)
        now = time.time()
        for (_, kid), (followed, _) in itertools.pairwise(made):
            # Others sign with it until they look the next time.
            if followed and now - followed > self._lifetime + _LOOK + _SKEW:
                await self._store.delete(Key(_KIND, kid))
        if made and now - made[-1][0] > self._lifetime:
            await self._make_key()
        await self._load()

    async def _make_key(self) -> None:
        key = Ed25519PrivateKey.generate().private_bytes_raw()
        kid = f"{int(time.time())}-{uuid4().hex}"
        await self._store.put(Key(_KIND, kid), key, expected=0)
        await self._load()

    def issue(self, claims: Claims) -> Token:
        """A token that proves these claims. Raises `Unavailable` before the keys are there."""
        if self._signing is None:
            raise Unavailable("the signing keys are not read from the engine yet; try again")
        kid, key = self._signing
        now, token_id = int(time.time()), uuid4().hex
        payload = {
            "iss": _ISSUER,
            "sub": claims.pid,
            "name": claims.name,
            "full": claims.full,
            "jti": token_id,
            "iat": now,
            "exp": now + int(self._lifetime),
        }
        return Token(token_id, jwt.encode(payload, key, algorithm=_ALGORITHM, headers={"kid": kid}))

    async def renewed(self, token: str) -> Token | None:
        """A token for this one, once half of its time is over; raises `Denied`."""
        claims = await self.read(token)
        _, expires = self._read[token]
        return self.issue(claims) if expires - time.time() < self._lifetime / 2 else None

    async def verify(self, token: str, pid: str) -> None:
        """Return if `token` proves to be `pid`; raises `Denied`."""
        if (await self.read(token)).pid != pid:
            raise Denied(f"token: is not of pid {pid}")

    async def read(self, token: str) -> Claims:
        """What a token proves; raises `Denied`. One that was read lately costs no more than a
        look."""
        if known := self._read.get(token):
            claims, expires = known
            if time.time() < expires:
                return claims
            del self._read[token]
        claims, expires = await self._verified(token)
        if len(self._read) >= _REMEMBERED:
            self._read.pop(next(iter(self._read)))
        self._read[token] = claims, expires
        return claims

    async def _verified(self, token: str) -> tuple[Claims, float]:
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            if kid not in self._public:
                await self._look_for(kid)
            if kid not in self._public:
                raise Denied("token: signed by a key that this cluster does not know")
            claims = jwt.decode(
                token,
                self._public[kid],
                algorithms=[_ALGORITHM],
                issuer=_ISSUER,
                # When it was issued is another clock's word, and decides nothing.
                options={"require": ["exp", "sub", "iss"], "verify_iat": False},
                leeway=5,  # seconds that the clocks of two hosts may differ
            )
        except jwt.ExpiredSignatureError:
            raise Denied("token: has run out; initialize anew") from None
        except jwt.InvalidTokenError as error:
            raise Denied(f"token: is not valid ({type(error).__name__})") from None
        found = Claims(claims["sub"], claims.get("name", ""), bool(claims.get("full")))
        return found, float(claims["exp"])

    async def _look_for(self, kid: str) -> None:
        """Read the keys, for another Blueprint may have made one since; not too often, for anybody
        can name one that is not there."""
        async with self._looking:
            if kid not in self._public:
                await asyncio.sleep(self._loaded + _FORGERS - time.monotonic())
                await self._load()

    async def _load(self) -> None:
        public, signing = {}, None
        for entry in await self._store.entries():  # oldest first: the newest key signs
            key = Ed25519PrivateKey.from_private_bytes(entry.value)
            public[entry.key.name] = key.public_key()
            signing = (entry.key.name, key)
        self._public, self._signing, self._loaded = public, signing, time.monotonic()


def _made(kid: str) -> float:
    """When a key was made; 0 for one from before keys told."""
    seconds, dash, _ = kid.partition("-")
    return float(seconds) if dash and seconds.isdecimal() else 0.0
