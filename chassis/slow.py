"""The log of slow requests: one line each, but never many of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from chassis.logs import RESERVED

log = logging.getLogger(__name__)

# When the engine stands still, every request is slow: the first ones say it all.
MOST = 10
WINDOW = 10.0


class Ration:
    """At most `MOST` in each `WINDOW` seconds. Pure; times in seconds of any clock."""

    def __init__(self) -> None:
        self._began = float("-inf")
        self._given = 0
        self._withheld = 0

    def take(self, now: float) -> int | None:
        """None: not this one. Else, how many were withheld since the last one that was not."""
        if now - self._began >= WINDOW:
            self._began, self._given = now, 0
        if self._given >= MOST:
            self._withheld += 1
            return None
        self._given += 1
        withheld, self._withheld = self._withheld, 0
        return withheld


class SlowLog:
    """Says which requests took longer than `after` seconds. `instance` is who we are."""

    def __init__(self, after: float, instance: str) -> None:
        self.after = after
        self._instance = instance
        self._ration = Ration()

    def tell(
        self, method: str, code: str, seconds: float, peer: str, about: Mapping[str, Any]
    ) -> None:
        """One request was slow; `about` are names, never values."""
        withheld = self._ration.take(time.monotonic())
        if withheld is None:
            return
        fields = {
            "peer": peer,
            "instance": self._instance,
            "seconds": f"{seconds:.3f}",
            "code": code,
            **{_plain(name): value for name, value in about.items()},
        }
        if withheld:
            fields["unlogged"] = withheld
        log.warning("slow: %s", method, extra=fields)


def _plain(name: str) -> str:
    """A record has fields of its own, such as `name`, which are not to be had."""
    return f"request_{name}" if name in RESERVED else name
