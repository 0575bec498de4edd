"""Every way in which dctl says no, as one tree.

An error says what happened and where (`message`), and what to do next (`hint`). The command line
prints both and exits with the class's `exit_code`; nothing else decides exit codes. Errors of
libraries are translated into these at the one place that calls the library.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What dctl's exit status means; documented in docs/cli.md and stable."""

    OK = 0
    ERROR = 1
    CHANGES = 2  # only with --detailed-exitcode
    BAD_SPEC = 3
    PARTLY_APPLIED = 4
    LOCKED = 5
    UNREACHABLE = 6
    TIMEOUT = 7
    USAGE = 64
    INTERRUPTED = 130


class DctlError(Exception):
    """Something the user has to know; the root of every error that dctl raises on purpose."""

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(DctlError):
    """The spec (or a proto) is wrong; `problems` are whole, printable blocks in file order."""

    exit_code = ExitCode.BAD_SPEC

    def __init__(self, message: str, *, problems: Sequence[str] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class NotFoundError(DctlError):
    """What was asked for by name is not there."""


class PortTakenError(DctlError):
    """A port that the plan needs is held by somebody else, who is named."""


class ForeignError(DctlError):
    """Something of that name exists and is not ours; it is never touched."""


class PartlyAppliedError(DctlError):
    """An apply stopped half-way: some steps are done, one failed, the rest were not begun."""

    exit_code = ExitCode.PARTLY_APPLIED


class LockedError(DctlError):
    """Somebody else has the lock: of a cluster that is applied to, or of its users."""

    exit_code = ExitCode.LOCKED


class UnreachableError(DctlError):
    """A host or a service did not answer."""

    exit_code = ExitCode.UNREACHABLE


class WaitTimeoutError(DctlError):
    """It answered, but what was waited for did not come in time."""

    exit_code = ExitCode.TIMEOUT


class UsageError(DctlError):
    """The command line itself is wrong."""

    exit_code = ExitCode.USAGE
