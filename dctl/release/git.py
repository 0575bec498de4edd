"""The git command on one repository; its errors become ours here."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dctl.errors import DctlError, NotFoundError, UnreachableError

_TIMEOUT = 120.0  # seconds; a remote that asks for a password would wait for ever


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree, by its root."""

    root: Path

    def dirty(self) -> list[str]:
        """What is changed and not committed, or not known to git, as git tells it: ` M a.py`."""
        told = self._git("status", "--porcelain=v1", "--untracked-files=all", "-z").split("\0")
        lines: list[str] = []
        while told:
            line = told.pop(0)
            if line[:1] in ("R", "C") and told:
                told.pop(0)  # what it was called before
            lines += [line] if line else []
        return lines

    def branch(self) -> str:
        """The branch that is checked out; "" for none."""
        return self._git("branch", "--show-current").strip()

    def commit(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def tags(self, *, here: bool = False) -> list[str]:
        """All tags, or those of the commit that is checked out."""
        at = ("--points-at", "HEAD") if here else ()
        return self._git("tag", "--list", *at).splitlines()

    def fetch(self, remote: str) -> None:
        """Hear what the remote has, tags included."""
        self._git("fetch", "--quiet", "--tags", remote)

    def behind(self, remote: str, branch: str) -> int:
        """How many commits of the remote's branch are not in what is checked out."""
        return int(self._git("rev-list", "--count", f"HEAD..refs/remotes/{remote}/{branch}"))

    def changed_since(self, tag: str, path: str) -> bool:
        """Whether a path is another one than at a tag."""
        return bool(self._git("diff", "--name-only", tag, "HEAD", "--", path or ".").strip())

    def tag(self, name: str, message: str) -> None:
        self._git("tag", "--annotate", "--message", message, name)

    def forget(self, tag: str) -> None:
        """Remove a tag of this repository alone."""
        self._git("tag", "--delete", tag)

    def push_tag(self, remote: str, tag: str) -> None:
        self._git("push", "--quiet", remote, f"refs/tags/{tag}")

    def _git(self, *arguments: str) -> str:
        return _git(self.root, *arguments)


def repository(around: Path) -> Repository:
    """The repository in which `around` lies. Raises NotFoundError."""
    return Repository(Path(_git(around, "rev-parse", "--show-toplevel").strip()))


def _git(folder: Path, *arguments: str) -> str:
    # Nobody is there to type a password, and messages are read by us.
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT
        )
    except FileNotFoundError:
        raise NotFoundError("the git command is not installed here") from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"git {arguments[0]} did not end within {_TIMEOUT:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    words = next((line for line in said if line.startswith(("fatal:", "error:"))), " ".join(said))
    words = words.removeprefix("fatal: ").removeprefix("error: ")
    if "not a git repository" in done.stderr:
        raise NotFoundError(f"{folder} is in no git repository", hint="git init")
    if any(line.startswith(("fatal: unable to access", "ssh:")) for line in said):
        raise UnreachableError(f"git {arguments[0]}: {words}")
    raise DctlError(f"git {arguments[0]}: {words}")
