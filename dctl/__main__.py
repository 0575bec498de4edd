"""The process's edge: run the command line, turn every outcome into an exit code.

Whatever goes wrong, the user reads a sentence and what to do next, never a traceback
(`DCTL_DEBUG=1` shows it to whoever develops dctl).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import os
import sys
from collections.abc import Sequence

import click

from dctl.errors import DctlError, ExitCode, SpecError
from dctl.secrets.redaction import guarded

# What a machine refuses, which is nobody's bug.
_REFUSALS = {
    errno.EACCES: "check who owns it",
    errno.EDQUOT: "make room, then try again",
    errno.ENOSPC: "make room, then try again",
    errno.ENOTDIR: "a file stands where a folder has to be",
    errno.EPERM: "check who owns it",
    errno.EROFS: "name a folder that can be written; XDG_STATE_HOME is where dctl keeps its state",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `dctl` script; exits with an `ExitCode`."""
    if sys.stdout is None:  # it was closed before we began
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    _collect_seldom()
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first that is registered is called last
    codes.append(run(sys.argv[1:] if argv is None else argv))
    sys.exit(codes[0])


def _collect_seldom() -> None:
    """Importing makes many objects and no garbage: a tenth of the time of a short command would go
    into looking for it. A plan makes fewer objects (100,000 with docker-py and grpc) than the first
    collection waits for."""
    gc.set_threshold(200_000, 20, 20)


def _leave(codes: Sequence[int]) -> None:
    """End at once: all that has to be closed is closed by now, and the rest would be taken apart
    piece by piece, for 20 ms after a plan. Not after an end that nobody has foreseen."""
    for code in codes:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more
                stream.flush()
        os._exit(code)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; prints, never raises."""
    with guarded():
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    from dctl.cli import root

    try:
        result = root.main(args=list(argv), prog_name="dctl", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        error.show()
        return ExitCode.USAGE
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.ERROR
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`dctl ... | head`): not worth a word, but stop Python's own flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except DctlError as error:
        _show(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the last line before a traceback
        if os.environ.get("DCTL_DEBUG"):
            import traceback

            traceback.print_exc()  # here, where no secret gets through
            return ExitCode.ERROR
        if isinstance(error, OSError) and error.errno in _REFUSALS:
            where = f"{error.filename}: " if error.filename else ""
            _show(DctlError(f"{where}{error.strerror}", hint=_REFUSALS[error.errno]))
            return ExitCode.ERROR
        if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
            _show(DctlError("an argument is not UTF-8", hint="check the locale"))
            return ExitCode.USAGE
        _say(f"internal error: {type(error).__name__}: {error}")
        _say("this is a bug in dctl; DCTL_DEBUG=1 shows where")
        return ExitCode.ERROR
    return result if isinstance(result, int) else ExitCode.OK


def _show(error: DctlError) -> None:
    if isinstance(error, SpecError):
        for problem in error.problems:
            click.echo(problem, err=True)
        click.echo(error.message, err=True)
    else:
        _say(error.message)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)


def _say(text: str) -> None:
    click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)


if __name__ == "__main__":
    main()
