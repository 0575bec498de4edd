"""supervisor's poller, without a way to spin.

supervisor leaves the numbers of closed files with the poller and takes them out when the system
calls them invalid. A number that is in use again by then is valid: as the stdin of a program that
has closed its end, it is in error for ever, which stock supervisor asks about and never looks at,
with a core of its own.
"""

from __future__ import annotations

import select

from supervisor import poller


class Poller(poller.PollPoller):
    """Forgets a file that has nothing but an error; who still wants it registers it each round.

    (Where supervisor has kqueue instead of poll, closed files are forgotten by the system.)
    """

    def _ignore_invalid(self, fd: int, events: int) -> bool:
        if events & (self.READ | self.WRITE):
            return False
        return bool(super()._ignore_invalid(fd, select.POLLNVAL))  # type: ignore[no-untyped-call]
