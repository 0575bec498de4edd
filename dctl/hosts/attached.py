"""Run a command on the terminal, or the pipes, that dctl itself has."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from dctl.errors import DctlError

# What a terminal sends to all who are on it: the command decides what Ctrl-C means.
_SHARED = (signal.SIGINT, signal.SIGQUIT)
# What is sent to dctl alone, and meant for the command.
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP)


def run_attached(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
) -> int:
    """Run it to its end: its exit status, 128 + n when signal n ended it."""
    try:
        child = subprocess.Popen(argv, env=env, cwd=cwd)
    except OSError as error:
        where = f" in {cwd}" if cwd else ""
        raise DctlError(f"{argv[0]} cannot be run{where}: {error.strerror}") from error
    with _signals_to(child):
        status = child.wait()
    return status if status >= 0 else 128 - status


@contextmanager
def _signals_to(child: subprocess.Popen[bytes]) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, lambda *_: None) for number in _SHARED}
    before |= {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
