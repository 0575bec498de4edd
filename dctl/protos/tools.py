"""The one place that runs protoc and buf, and turns what they say into our errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from dctl.errors import DctlError, NotFoundError, WaitTimeoutError
from dctl.protos import framework
from dctl.spec.problems import Problem, Source, Span, spec_error

_TIMEOUT = 120.0  # seconds; a hundred protos take one or two
_FOUND = 100  # buf's exit code for "I have findings"; any other but 0 is its own failure
_PROTOC_LINE = re.compile(
    r"(?P<file>\S.*?\.proto):(?:(?P<line>\d+):(?P<column>\d+):)? (?P<text>.+)"
)
_GENERATORS = ("grpcio-tools", "mypy-protobuf")


def versions() -> dict[str, str]:
    """The versions of the tools that generate code. NotFoundError when one is not installed."""
    try:
        return {name: metadata.version(name) for name in _GENERATORS}
    except metadata.PackageNotFoundError as error:
        raise _missing(str(error.name)) from error


def protoc(arguments: Sequence[str], *, folder: Path) -> None:
    """Run protoc in `folder`. SpecError when it refuses the protos there."""
    # A process of its own: protoc writes its errors past Python, straight to the descriptor.
    done = _run([sys.executable, "-m", "grpc_tools.protoc", *arguments], folder)
    if done.returncode:
        problems = [
            _problem(folder, match["file"], match["line"], match["column"], match["text"])
            for match in map(_PROTOC_LINE.fullmatch, done.stderr.splitlines())
            if match
            and not match["text"].startswith("warning: ")
            # A missing file has no lines; the import that asks for it is reported too, with one.
            and not (match["line"] is None and "not found" in match["text"])
        ]
        if not problems:
            raise _failed("protoc", done)
        raise spec_error(problems)


def protoc_plugin(name: str) -> str:
    """The option that lets protoc find `protoc-gen-<name>`, wherever dctl is installed."""
    return f"--plugin=protoc-gen-{name}={_script(f'protoc-gen-{name}')}"


def buf(verb: str, *options: str, folder: Path) -> str:
    """Run buf for the protos in `folder` and return what it printed; files in `options` are
    absolute. SpecError when it has findings."""
    with framework.module(folder) as module:
        command = [_script("buf"), verb, *module.input, *options, "--error-format=json"]
        done = _run(command, module.cwd)
    if done.returncode == _FOUND:
        lines = (line for line in (done.stdout + done.stderr).splitlines() if line)
        raise spec_error(_finding(folder, module.prefix, line) for line in lines)
    if done.returncode:
        raise _failed("buf", done)
    return done.stdout


def buf_version() -> str:
    """NotFoundError when it is not installed."""
    return _run([_script("buf"), "--version"], Path.cwd()).stdout.strip()


def buf_format(*options: str, folder: Path) -> str:
    """Run `buf format`, which looks at each file alone, in `folder`."""
    done = _run([_script("buf"), "format", *options], folder)
    if done.returncode not in (0, _FOUND):
        raise _failed("buf", done)
    return done.stdout


def problem(folder: Path, name: str, text: str) -> Problem:
    """What is wrong with one proto as a whole."""
    return _problem(folder, name, None, None, text)


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise WaitTimeoutError(f"{_name(command)} did not end within {_TIMEOUT:.0f} s") from error
    except OSError as error:
        raise DctlError(f"{_name(command)} cannot be run in {folder}: {error.strerror}") from error


def _name(command: Sequence[str]) -> str:
    return "protoc" if "grpc_tools.protoc" in command else Path(command[0]).name


def _script(name: str) -> str:
    """Path of a script: beside our interpreter, where pip puts it, else on PATH."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise _missing(name)
    return found


def _missing(name: str) -> NotFoundError:
    return NotFoundError(f"{name} is not installed here", hint='pip install "draft[api]"')


def _failed(tool: str, done: subprocess.CompletedProcess[str]) -> DctlError:
    said = (done.stderr or done.stdout).strip()
    return DctlError(f"{tool} failed with exit code {done.returncode}: {said or 'it said nothing'}")


def _finding(folder: Path, prefix: str, line: str) -> Problem:
    """One of buf's JSON lines."""
    try:
        said = json.loads(line)
    except ValueError:  # it speaks of itself, such as of a rule that it does not know
        return _problem(folder, "buf.yaml", None, None, line.removeprefix("Failure: "))
    rule = "" if said["type"] == "COMPILE" else f" ({said['type']})"
    start, end = said.get("start_column", 1), said.get("end_column", 1)
    return _problem(
        folder,
        said.get("path", ".").removeprefix(
            prefix
        ),  # a finding about the module as a whole has no file
        said.get("start_line"),
        start,
        said["message"] + rule,
        width=end - start if said.get("start_line") == said.get("end_line") else 1,
    )


def _problem(
    folder: Path,
    file: str,
    line: str | int | None,
    column: str | int | None,
    text: str,
    *,
    width: int = 1,
) -> Problem:
    """A problem in `file` of `folder`; without a line it is about the whole file."""
    path = folder / file
    content = path.read_text(errors="replace") if line and path.is_file() else ""
    source = Source(os.path.relpath(path), content)
    return Problem(Span(source, int(line or 1) - 1, int(column or 1) - 1, width), text)
