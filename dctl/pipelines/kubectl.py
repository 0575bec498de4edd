"""The kubectl command on one context, which is always named; its errors become ours here."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
from dataclasses import dataclass
from typing import Any

from dctl.errors import DctlError, NotFoundError, UnreachableError

_TIMEOUT = 120.0  # seconds
_ANSWER = "--request-timeout=30s"
_AWAY = (
    "unable to connect to the server",
    "connection refused",
    "no such host",
    "i/o timeout",
    "net/http: request canceled",
)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Of one context of the user's kubeconfig. Nothing is done in whichever is the current one."""

    context: str

    def server(self) -> str:
        """Where the context leads, as its configuration says."""
        config = json.loads(
            _kubectl("config", "view", "--minify", "--context", self.context, "-o", "json")
        )
        clusters = config.get("clusters") or [{}]
        return str((clusters[0].get("cluster") or {}).get("server", ""))

    def apply(self, manifests: str) -> list[str]:
        """Make them so; a line on each."""
        return self._with("apply", "--filename", "-", text=manifests).splitlines()

    def create(self, manifest: str) -> str:
        """Make one thing more; its name."""
        made = self._with("create", "--filename", "-", "--output", "json", text=manifest)
        return str(json.loads(made)["metadata"]["name"])

    def delete(self, kinds: str, label: str, namespace: str = "") -> list[str]:
        """Remove what carries the label; a line on each."""
        where = ("--namespace", namespace) if namespace else ()
        arguments = ("delete", kinds, "--selector", label, "--ignore-not-found", *where)
        return self._with(*arguments).splitlines()

    def find(self, kinds: str, namespace: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        told = self._with("get", kinds, "--namespace", namespace, "--output", "json")
        return list(json.loads(told).get("items", ()))

    def forward(self, namespace: str, what: str, port: int, target: int) -> int:
        """Become the way to a port in there, until somebody ends it; its exit code."""
        command = ["kubectl", "--context", self.context, "--namespace", namespace]
        command += ["port-forward", what, f"{port}:{target}"]
        try:
            return subprocess.call(command)
        except FileNotFoundError:
            raise _absent() from None

    def _with(self, *arguments: str, text: str | None = None) -> str:
        return _kubectl("--context", self.context, _ANSWER, *arguments, text=text)


def contexts() -> list[str]:
    """The names in the user's kubeconfig."""
    return _kubectl("config", "get-contexts", "--output", "name").split()


def current() -> str:
    """The one that kubectl itself would mean; "" for none."""
    try:
        return _kubectl("config", "current-context").strip()
    except DctlError:
        return ""


def named(context: str) -> Kubectl:
    """The context of that name. Raises NotFoundError."""
    known = contexts()
    if context not in known:
        near = difflib.get_close_matches(context, known, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise NotFoundError(
            f'there is no kube context "{context}"{meant}',
            hint=f"there are: {', '.join(known) or 'none'}",
        )
    return Kubectl(context)


def _absent() -> NotFoundError:
    return NotFoundError("the kubectl command is not installed here")


def _kubectl(*arguments: str, text: str | None = None) -> str:
    try:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=text,
            stdin=subprocess.DEVNULL if text is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise _absent() from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"kubectl did not end within {_TIMEOUT:.0f} s") from None
    if done.returncode == 0:
        return done.stdout
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    words = said[-1].removeprefix("error: ") if said else f"it ended with {done.returncode}"
    low = done.stderr.lower()
    if any(sign in low for sign in _AWAY):
        raise UnreachableError(f"the Kubernetes cluster does not answer: {words}")
    if "no matches for kind" in low or "resource mapping not found" in low:
        raise DctlError(
            f"kubectl: {words}",
            hint="Tekton Pipelines is not installed there: kubectl apply it first",
        )
    raise DctlError(f"kubectl: {words}")
