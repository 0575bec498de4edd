"""The secrets of one spec: had when they are needed and kept in memory only.

What is asked of a host names a secret and the digest of its value, which is keyed so that nobody
can guess the value from it. The key is made once and kept with the cluster.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from dctl.errors import DctlError
from dctl.secrets.redaction import learn
from dctl.secrets.references import Place, references
from dctl.secrets.sources import SourceError, fetch
from dctl.spec import Loaded

KEY = "digests"
"""The name under which the first host keeps the key of the digests."""


class Vault:
    """The secrets that a spec uses. `kept_key` tells the key that is kept with the cluster, ""
    when none is yet."""

    def __init__(
        self, loaded: Loaded, kept_key: Callable[[], str], env: Mapping[str, str] | None = None
    ) -> None:
        self._loaded = loaded
        self._kept_key = kept_key
        self._env = os.environ if env is None else env
        self.uses: Mapping[str, list[Place]] = references(loaded.data)
        self._lock = threading.RLock()
        self._key = ""
        self._values: dict[str, str] = {}
        self._older: dict[tuple[str, str], str] = {}

    def open(self) -> None:
        """Have every secret that is used. Raises SpecError with each one that cannot be had, at
        the place where it is declared."""
        with self._lock:
            self._loaded.refuse(self._fetched(self.uses))

    def try_open(self) -> dict[str, str]:
        """Have what can be had, so that it is known to the redactor. Of the rest, why not."""
        with self._lock:
            return {str(place[-1]): why for place, why in self._fetched(self.uses)}

    def forget(self) -> None:
        """Have them anew when they are needed next: they may change while we run."""
        with self._lock:
            self._values.clear()

    def value(self, name: str) -> str:
        """The value of one of the spec's secrets. Raises SpecError when it cannot be had: with all
        others that cannot, if it is used."""
        with self._lock:
            if name not in self._values:
                if name not in self._loaded.cluster.secrets:
                    raise DctlError(
                        f"the secret {name} is no longer declared in {self._loaded.path}",
                        hint="dctl infra apply makes the cluster as the spec is now",
                    )
                names = self.uses if name in self.uses else [name]
                self._loaded.refuse(self._fetched(names))
            return self._values[name]

    def digest(self, name: str) -> str:
        """The keyed digest of its value."""
        return self._digest_of(name, self.value(name))

    def text(self, name: str, digest: str) -> str:
        """The value with this digest: today's, or an older one that was still to be had."""
        with self._lock:
            if (older := self._older.get((name, digest))) is not None:
                return older
        if digest != self.digest(name):
            raise DctlError(
                f"the secret {name} has another value now than when this was asked for",
                hint="dctl infra apply brings the new one",
            )
        return self.value(name)

    def remember(self, name: str, digest: str, text: str) -> None:
        """Keep an older value in mind, in case that what uses it is put back; if it is the one
        that was given, and not what a cut-off change or somebody else has put there."""
        learn(text)
        if self._digest_of(name, text) == digest:
            with self._lock:
                self._older[name, digest] = text

    @property
    def has_kept_key(self) -> bool:
        """Whether anything was ever given with the digests that we make."""
        return bool(self._kept_key())

    @property
    def key(self) -> str:
        """The key of the digests: the one that is kept, else one that is yet to be."""
        with self._lock:
            self._key = self._key or self._kept_key() or secrets.token_urlsafe(32)
            return self._key

    def keep_key(self, keep: Callable[[str], None]) -> None:
        """Keep the key with the cluster. Raises DctlError when somebody has kept another one since
        we have planned."""
        kept = self._kept_key()
        if not kept:
            keep(self.key)
        elif kept != self.key:
            raise DctlError(
                "the cluster was changed by somebody else since it was planned",
                hint="look at it again: dctl infra plan",
            )

    def _digest_of(self, name: str, value: str) -> str:
        message = f"{name}\0{value}".encode()
        return hmac.new(self.key.encode(), message, hashlib.sha256).hexdigest()[:16]

    def _fetched(self, names: Iterable[str]) -> Iterator[tuple[Place, str]]:
        """Have what we do not have yet; where each is declared that cannot be had, and why."""
        for name in names:
            if name in self._values:
                continue
            declared = self._loaded.cluster.secrets[name]
            try:
                self._values[name] = fetch(name, declared, self._loaded.root, self._env)
            except SourceError as error:
                yield ("secrets", name), str(error)
            else:
                learn(self._values[name])
