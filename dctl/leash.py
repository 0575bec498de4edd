"""Goes before a command and becomes it: the command is killed when the dctl is that started it.

`python leash.py PID COMMAND...`, PID being that dctl. Run as a file: it needs nothing of ours.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_CANNOT_RUN = 126  # what shells answer for a program that may not be run, or is not there
_NOT_FOUND = 127


def main(argv: Sequence[str]) -> None:
    """Tie this process to its parent and exec. Never returns."""
    parent, *command = argv
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before we asked for that
        sys.exit(1)
    # Python ignores these two, and exec would pass that on.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.stderr.write(f"dctl: cannot run {command[0]}: {error.strerror}\n")
        sys.exit(_NOT_FOUND if isinstance(error, FileNotFoundError) else _CANNOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
