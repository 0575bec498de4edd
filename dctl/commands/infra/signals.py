"""What goes on until it is told to end, by Ctrl-C or SIGTERM."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType


class Ending:
    """Set by either signal while it is entered. A pipe, for a lock must not be taken by a signal's
    handler: it may interrupt the very one who holds it."""

    def __enter__(self) -> Ending:
        self._told, self._tell = os.pipe()
        self._set = False
        self._before = {
            number: signal.signal(number, self._end) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._told)
        os.close(self._tell)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float) -> bool:
        """Until it is set, for `timeout` seconds at most."""
        select.select([self._told], [], [], timeout)
        return self._set

    def _end(self, number: int, frame: FrameType | None) -> None:
        if not self._set:
            self._set = True
            os.write(self._tell, b".")
