"""The cipher of the store: age, and the user's own key to it.

The only module that imports age's library, and the place where its errors become ours.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from dctl.errors import DctlError, NotFoundError

KEY_FILE = "DCTL_AGE_KEY_FILE"
"""Environment variable that names another file than the user's own; for CI."""


class WrongKeyError(DctlError):
    """It was not encrypted for this key."""


class CorruptError(DctlError):
    """It is not what was encrypted."""


def key_file() -> Path:
    """Where the user's key is: $XDG_CONFIG_HOME/draft/age.key, by default in ~/.config."""
    if named := os.environ.get(KEY_FILE):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "draft" / "age.key"


def make_key(workspace: Path) -> str:
    """Make the user's key unless there is one; its public part. Never within the workspace."""
    path = key_file()
    if path.exists():
        return public_key()
    if path.absolute().is_relative_to(workspace.absolute()):
        raise DctlError(
            f"the key would stand in the workspace: {path}",
            hint=f"it is committed there one day: set {KEY_FILE} or XDG_CONFIG_HOME elsewhere",
        )
    identity = _age().x25519.Identity.generate()
    public = str(identity.to_public())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made with its final mode, and never over another one.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"# public key: {public}\n{identity}\n")
    except FileExistsError:
        return public_key()
    except OSError as error:
        raise DctlError(f"the key cannot be written to {path}: {error.strerror}") from error
    return public


def public_key() -> str:
    """What others encrypt with, for the user to read."""
    return str(_identity().to_public())


def encrypt(data: bytes, recipients: list[str]) -> bytes:
    """Encrypt for everybody whose public key is given. Raises DctlError for one that is none."""
    age = _age()
    keys = []
    for text in recipients:
        try:
            keys.append(age.x25519.Recipient.from_str(text.split()[0]))
        except (age.RecipientError, IndexError):
            raise DctlError(
                f'"{text}" is no public key', hint="it looks like age1...; dctl secret key tells"
            ) from None
    return bytes(age.encrypt(data, keys))


def decrypt(data: bytes) -> bytes:
    """Decrypt with the user's key. Raises WrongKeyError or CorruptError."""
    age = _age()
    identity = _identity()
    try:
        return bytes(age.decrypt(data, [identity]))
    except age.DecryptError as error:
        if "No matching keys" in str(error):  # the library tells them apart in words only
            raise WrongKeyError("it is encrypted for other keys than yours") from None
        raise CorruptError("it is damaged") from None


def _identity() -> Any:
    path = key_file()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"there is no key to the store: {path}",
            hint=f"dctl secret key makes one; or name yours: {KEY_FILE}=...",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DctlError(f"the key {path} cannot be read: {reason}") from None
    if mode & 0o077:
        raise DctlError(f"others may read the key {path}", hint=f"chmod 600 {path}")
    age = _age()
    lines = [line.strip() for line in text.splitlines()]
    for line in lines:
        if line and not line.startswith("#"):
            try:
                return age.x25519.Identity.from_str(line)
            except age.IdentityError:
                break
    raise DctlError(f"{path} holds no age key", hint="it looks like AGE-SECRET-KEY-1...")


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise DctlError(
            "the encrypted store needs the package pyrage", hint="pip install 'draft[secrets]'"
        ) from None
    return pyrage
