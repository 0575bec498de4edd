"""What is noted of each call: it is counted, told when it was slow, and has a line in the debug
log. Whatever a method needs for that is looked up once."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from chassis.metrics import Meter
    from chassis.slow import SlowLog

log = logging.getLogger("chassis.interceptor")


class Method:
    """One method that is served. A servicer that has an `about(request)` names with it what a
    request is about, for the log of slow ones."""

    def __init__(
        self,
        name: str,
        behavior: Callable[..., Any],
        meter: Meter | None = None,
        slow: SlowLog | None = None,
    ) -> None:
        self.name = name
        self._meter = meter
        self._slow = slow
        self._patience = slow.after if slow else float("inf")
        self._about = getattr(getattr(behavior, "__self__", None), "about", None)

    def begin(self) -> float:
        """A call has come; returns what `end` wants to know of it."""
        if self._meter is not None:
            self._meter.begin()
        return time.perf_counter()

    def end(self, began: float, context: Any, code: str = "", request: object = None) -> None:
        """It has ended; without a `code`, with the one that the servicer gave it."""
        seconds = time.perf_counter() - began
        code = code or _given(context)
        if self._meter is not None:
            self._meter.end(code, seconds)
        if seconds >= self._patience and self._slow is not None:
            self._slow.tell(self.name, code, seconds, context.peer(), self._what(request))
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s in %.1f ms", self.name, code, seconds * 1000)

    def _what(self, request: object) -> Mapping[str, Any]:
        if self._about is None or request is None:
            return {}
        try:
            told: Mapping[str, Any] = self._about(request)
        except Exception:
            log.exception("what a call of %s was about cannot be said", self.name)
            return {}
        return told


def _given(context: Any) -> str:
    code = context.code()
    if not code:
        return "OK"
    return str(code.name) if isinstance(code, grpc.StatusCode) else _NAMES.get(code, "UNKNOWN")


_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
