"""Puts back what a run has taken, once that has ended: by itself, by Ctrl-C, with its terminal, or
by kill -9.

`python -m dctl.dev.keeper DESCRIPTOR PATH`: the book, which is kept alive so. Standard input is a
pipe that nobody writes to; its end is the run's end. In a session of its own, so that no signal of
the terminal reaches it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dctl.dev.debts import Book


class Keeper:
    """The process, as the run sees it."""

    def __init__(self, book: Book) -> None:
        told, self._tell = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(book.descriptor), str(book.path)],
                stdin=told,
                stdout=subprocess.DEVNULL,
                pass_fds=(book.descriptor,),
                start_new_session=True,
                cwd="/",
            )
        finally:
            os.close(told)

    def settle(self) -> None:
        """Let it put everything back, and wait for that."""
        os.close(self._tell)
        while True:
            with suppress(KeyboardInterrupt):  # it goes on anyway
                self._process.wait()
                return


def main(argv: Sequence[str]) -> None:
    """Wait for the end of the run, and put back what it owes."""
    import fcntl

    descriptor, path = int(argv[0]), Path(argv[1])
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # what we start shall not keep it
    while os.read(0, 1024):
        pass
    # Only now, so that a waiting keeper is small.
    from dctl.dev.debts import Book
    from dctl.dev.settle import settle
    from dctl.secrets.redaction import guarded

    with guarded():
        settle(Book(path, descriptor), _say)


def _say(text: str) -> None:
    with suppress(OSError, ValueError):  # the terminal may be gone
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
