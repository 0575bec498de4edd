"""The process's edge: every outcome becomes an exit code and a sentence, never a traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import click
import pytest

from dctl import cli
from dctl.__main__ import run
from dctl.errors import (
    DctlError,
    ExitCode,
    LockedError,
    PartlyAppliedError,
    SpecError,
    UnreachableError,
    WaitTimeoutError,
)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """A command "fail" that raises what the test gives it."""

    def install(error: BaseException) -> None:
        @click.command()
        def fail() -> NoReturn:
            raise error

        monkeypatch.setattr(cli.Lazy, "load", lambda self: fail)

    return install


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DctlError("no"), ExitCode.ERROR),
        (SpecError("no"), ExitCode.BAD_SPEC),
        (PartlyAppliedError("no"), ExitCode.PARTLY_APPLIED),
        (LockedError("no"), ExitCode.LOCKED),
        (UnreachableError("no"), ExitCode.UNREACHABLE),
        (WaitTimeoutError("no"), ExitCode.TIMEOUT),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (RuntimeError("a bug"), ExitCode.ERROR),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(failing, capsys, error, code) -> None:
    failing(error)
    assert run(["ps"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err
    assert "Traceback" not in err


def test_an_error_prints_what_and_what_next(failing, capsys) -> None:
    failing(UnreachableError("Blueprint did not answer", hint="dctl infra status"))
    run(["ps"])
    assert capsys.readouterr().err == "error: Blueprint did not answer\n  dctl infra status\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_machine_refuses_is_told_and_not_called_a_bug(failing, capsys, number) -> None:
    failing(OSError(number, os.strerror(number), "/var/lib/x"))
    assert run(["ps"]) == ExitCode.ERROR
    err = capsys.readouterr().err
    assert f"error: /var/lib/x: {os.strerror(number)}\n  " in err
    assert "bug" not in err


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_an_output_that_takes_nothing_is_no_bug(tmp_path: Path, redirect: str) -> None:
    (tmp_path / "x.yaml").write_text("apiVersion: draft/v1\nkind: Cluster\nname: x\n")
    done = subprocess.run(
        f"{sys.executable} -m dctl config -f x.yaml {redirect}",
        shell=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bug" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["kv", "set", "a", "b", "--if-revision", str(1 << 64)],
        ["kv", "watch", "--from-revision", str(1 << 64)],
        ["broker", "consume", "--from", str(1 << 64)],
        ["tui"],
    ],
)
def test_what_cannot_be_done_with_these_arguments_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, argv: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(argv) == ExitCode.USAGE
    assert "bug" not in capsys.readouterr().err


def test_an_argument_that_is_no_text_is_a_usage_error(failing, capsys) -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "\udcff".encode()
    failing(caught.value)
    assert run(["ps"]) == ExitCode.USAGE
    assert "not UTF-8" in capsys.readouterr().err


def test_a_bad_spec_prints_every_problem_and_then_the_count(failing, capsys) -> None:
    failing(
        SpecError("2 problems; nothing was changed", problems=["a.yaml:1:1: x", "a.yaml:2:1: y"])
    )
    run(["ps"])
    assert capsys.readouterr().err.splitlines() == [
        "a.yaml:1:1: x",
        "a.yaml:2:1: y",
        "2 problems; nothing was changed",
    ]


def test_usage_errors_exit_with_64_and_name_the_nearest_command(capsys) -> None:
    assert run(["inffra"]) == ExitCode.USAGE
    assert 'did you mean "infra"?' in capsys.readouterr().err
    assert run(["kv", "--nonsense"]) == ExitCode.USAGE


def test_help_lists_every_command(capsys) -> None:
    assert run(["--help"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_listed_command_loads_and_has_help(name: str, capsys) -> None:
    assert run([name, "--help"]) == ExitCode.OK
    assert "Usage: dctl" in capsys.readouterr().out


def test_a_missing_spec_says_which_file(tmp_path: Path, capsys) -> None:
    missing = tmp_path / "nothing.yaml"
    assert run(["infra", "plan", "-f", str(missing)]) != ExitCode.OK
    assert "nothing.yaml" in capsys.readouterr().err


def test_the_end_closes_what_was_registered_and_takes_nothing_apart() -> None:
    program = (
        "import atexit, sys, dctl.__main__ as dctl\n"
        "class Kept:\n"
        "    def __del__(self): print('taken apart')\n"
        "sys.kept = Kept()\n"
        "def run(argv):\n"
        "    atexit.register(print, 'closed')\n"
        "    return 4\n"
        "dctl.run = run\n"
        "dctl.main([])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (4, "closed\n", "")
