"""The process's edge: every outcome becomes an exit code and a sentence, never a traceback."""

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
