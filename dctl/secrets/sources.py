"""A declaration of a secret to its value: a file, an environment variable, a command, the store.

No message quotes a value, nor what a command printed.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from dctl.errors import DctlError
from dctl.secrets.store import FILE, Store
from dctl.spec.model import Secret

LARGEST = 512 * 1024  # bytes: less than every way of delivery takes
_PATIENCE = 60.0  # seconds for a command; a person may have to touch a key

Kind = Literal["file", "env", "exec", "store"]


class SourceError(Exception):
    """A secret cannot be had: why, where it was looked for, and what next, in one sentence."""


def kind_of(declared: Secret) -> Kind:
    """The kind of source that a declaration names."""
    if declared.file:
        return "file"
    if declared.env:
        return "env"
    return "exec" if declared.exec else "store"


def source_text(declared: Secret) -> str:
    """Where a secret comes from, in a few words; of a command its name only."""
    match kind_of(declared):
        case "file":
            return f"file {declared.file}"
        case "env":
            return f"env {declared.env}"
        case "exec":
            return f"exec {declared.exec[0]}"
        case "store":
            return f"store {declared.store}"


def fetch(name: str, declared: Secret, root: Path, env: Mapping[str, str]) -> str:
    """The value of the secret `name`; `root` is the workspace. One newline at its end is the
    file's or the command's own. Raises SourceError."""
    match kind_of(declared):
        case "file":
            value = _text(_file(root, declared.file or "", name))
        case "env":
            value = _variable(env, declared.env or "", name)
        case "exec":
            value = _text(_output(declared.exec, root))
        case "store":
            value = _stored(root, declared.store or "", name)
    if not value:
        raise SourceError(f"is empty ({source_text(declared)})")
    return value


def without_newline(text: str) -> str:
    """Without the one newline that editors and commands put at the end."""
    return text.removesuffix("\n").removesuffix("\r")


def _file(root: Path, written: str, name: str) -> bytes:
    path = root / Path(written).expanduser()
    try:
        with open(path, "rb") as file:
            return _bounded(file.read(LARGEST + 1))
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}: write it, or {_kept(name)}") from None
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise SourceError(f"{path} cannot be read: {reason}") from None


def _variable(env: Mapping[str, str], variable: str, name: str) -> str:
    if variable not in env:
        raise SourceError(f"{variable} is not set where dctl runs: export it, or {_kept(name)}")
    return env[variable]


def _kept(name: str) -> str:
    return f"keep it in the workspace (`{name}: {{store: {name}}}`): dctl secret set {name}"


def _output(argv: tuple[str, ...], root: Path) -> bytes:
    itself = f'"{argv[0]}"'
    try:
        child = subprocess.Popen(
            argv,
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that what it starts ends with it
        )
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise SourceError(f"the command {itself} cannot be run: {reason}") from None
    try:
        printed, _ = child.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        raise SourceError(f"the command {itself} did not end within {_PATIENCE:g}s") from None
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if code := child.returncode:
        how = f"exit status {code}" if code > 0 else f"signal {-code}"
        raise SourceError(
            f"the command {itself} ended with {how}; what it says is not shown here: run it"
            " yourself"
        )
    return _bounded(printed)


def _stored(root: Path, key: str, name: str) -> str:
    try:
        value = Store(root).get(key)
    except DctlError as error:
        raise SourceError(error.message + (f": {error.hint}" if error.hint else "")) from None
    if value is None:
        raise SourceError(f'"{key}" is not in {FILE}: dctl secret set {name}')
    return value


def _bounded(data: bytes) -> bytes:
    if len(data) > LARGEST:
        raise SourceError(f"is larger than {LARGEST >> 10}K")
    return data


def _text(data: bytes) -> str:
    try:
        return without_newline(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise SourceError("is no text (UTF-8): encode it, in base64 for one") from None
