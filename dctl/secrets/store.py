"""The encrypted store of a workspace: one file to commit, a line for each secret.

Each is encrypted by itself, for all public keys that the file lists: so two people who change
different ones change different lines, names can be listed and values set without any key, and
only who is listed can read one. What is encrypted holds its name, so that nobody can exchange two.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import stat
from pathlib import Path
from typing import Any

from dctl.errors import DctlError
from dctl.secrets import age

FILE = "secrets.age.json"
API_VERSION = "draft/v1"
KIND = "SecretStore"


class Store:
    """The store of the workspace at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.path = root / FILE

    def names(self) -> list[str]:
        """The keys of what is kept; needs no key of the user's."""
        return sorted(self._read()["secrets"])

    def recipients(self) -> list[str]:
        """The public keys of those who can read it."""
        return list(self._read()["recipients"])

    def get(self, name: str) -> str | None:
        """The value of one; None when it is not there."""
        sealed = self._read()["secrets"].get(name)
        return None if sealed is None else self._opened(name, sealed)

    def set(self, name: str, value: str) -> None:
        """Keep a value. The first one makes the store, for the user's own key."""
        document = self._read()
        if not document["recipients"]:
            document["recipients"] = [age.make_key(self._root)]
        document["secrets"][name] = _sealed(name, value, document["recipients"])
        self._write(document)

    def remove(self, name: str) -> bool:
        """Forget one; False when it was not there."""
        document = self._read()
        if document["secrets"].pop(name, None) is None:
            return False
        self._write(document)
        return True

    def allow(self, recipient: str) -> None:
        """Encrypt everything for one more public key; the user has to be able to read it."""
        document = self._read()
        if not document["recipients"]:
            document["recipients"] = [age.make_key(self._root)]
        if recipient not in document["recipients"]:
            document["recipients"].append(recipient)
        for name, sealed in document["secrets"].items():
            value = self._opened(name, sealed)
            document["secrets"][name] = _sealed(name, value, document["recipients"])
        if not document["secrets"]:
            age.encrypt(b"", document["recipients"])  # a key that is none is refused now
        self._write(document)

    def _opened(self, name: str, sealed: str) -> str:
        hint = "take the last good one from the history of the workspace"
        try:
            opened = json.loads(age.decrypt(base64.b64decode(sealed, validate=True)))
            if opened["name"] == name and isinstance(opened["value"], str):
                return str(opened["value"])
        except age.WrongKeyError:
            raise DctlError(
                f'"{name}" in {FILE} is not encrypted for your key',
                hint=f"ask somebody who can read it: dctl secret allow {age.public_key()}",
            ) from None
        except (age.CorruptError, binascii.Error, ValueError, TypeError, KeyError):
            raise DctlError(f'"{name}" in {FILE} is damaged', hint=hint) from None
        raise DctlError(f'"{name}" in {FILE} holds what was kept as another', hint=hint)

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {"apiVersion": API_VERSION, "kind": KIND, "recipients": [], "secrets": {}}
        except OSError as error:
            raise DctlError(f"{self.path} cannot be read: {error.strerror}") from error
        except ValueError:
            raise DctlError(
                f"{self.path} is damaged: it is not JSON",
                hint="a merge may have left its marks: keep both lines, without a comma too many",
            ) from None
        if not _is_store(document):
            raise DctlError(f"{self.path} is no store of {API_VERSION}")
        return dict(document)

    def _write(self, document: dict[str, Any]) -> None:
        """Whole or not at all; with the mode that the file has, others read it in the end."""
        document["secrets"] = dict(sorted(document["secrets"].items()))
        draft = self.path.with_name(f".{FILE}.{os.getpid()}.new")
        try:
            with open(draft, "w", encoding="utf-8") as file:
                file.write(json.dumps(document, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            if self.path.exists():
                draft.chmod(stat.S_IMODE(self.path.stat().st_mode))
            os.replace(draft, self.path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise DctlError(f"{self.path} cannot be written: {error.strerror}") from error


def _sealed(name: str, value: str, recipients: list[str]) -> str:
    inside = json.dumps({"name": name, "value": value}, ensure_ascii=False)
    return base64.b64encode(age.encrypt(inside.encode(), recipients)).decode()


def _is_store(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and (document.get("apiVersion"), document.get("kind")) == (API_VERSION, KIND)
        and isinstance(document.get("recipients"), list)
        and all(isinstance(one, str) for one in document["recipients"])
        and isinstance(document.get("secrets"), dict)
        and all(isinstance(one, str) for one in document["secrets"].values())
    )
