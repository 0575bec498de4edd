"""supervisord, which also writes down how each process ended.

A program: `supervisord.py STATE` goes into the background once it listens. supervisor tells
nobody by which signal a process was killed, and forgets its exit when it starts it again, so its
`Subprocess.finish` is extended. This and `poller` are all that touches supervisor from inside.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any


def main(state: str) -> None:
    """Be the one supervisord of this cluster."""
    from supervisor import poller, process, supervisord

    from dctl.hosts.process.launch import hold_guard
    from dctl.hosts.process.layout import Layout
    from dctl.hosts.process.poller import Poller
    from dctl.hosts.process.records import Exit, exit_text
    from dctl.hosts.state.files import write_json

    layout = Layout(Path(state))
    if hold_guard(layout) is None:  # held for as long as this process lives
        sys.exit(f"another supervisord runs already for {state}")

    # Nobody listens on it now. supervisor would find that out too, but takes 0.3 s for it.
    Path(layout.socket.read_text()).unlink(missing_ok=True)

    class Recorded(process.Subprocess):
        def finish(self, pid: int, status: int) -> None:
            if not self.killing:
                code = os.waitstatus_to_exitcode(status)
                end = Exit(text=exit_text(code), ok=code == 0, at=time.time())
                config: Any = self.config
                try:
                    write_json(layout.ended(config.name), end)
                except OSError as error:
                    config.options.logger.critical(f"{config.name}: {error}")
            super().finish(pid, status)  # type: ignore[no-untyped-call]
            # Start it again now, if so: supervisor would get to it a second later.
            self.transition()  # type: ignore[no-untyped-call]

    process.Subprocess = Recorded  # type: ignore[misc]
    pollers: Any = poller  # its types know kqueue only
    if pollers.Poller is poller.PollPoller:
        pollers.Poller = Poller
    supervisord.main(["-c", str(layout.config)])  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    # In front: a checkout runs its own files, whatever dctl is installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main(sys.argv[1])
