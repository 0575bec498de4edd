"""What can go wrong on the way to a machine, in our words. Pure."""

from __future__ import annotations

import re

from dctl.errors import DctlError, UnreachableError
from dctl.hosts.ssh.config import Way

# What the worker reports; each becomes one error.
DENIED, CHANGED_KEY, UNKNOWN_KEY, NAME, REFUSED, TIMEOUT, CUT, SUDO, FAILED = (
    "denied", "changed-key", "unknown-key", "name", "refused", "timeout", "cut", "sudo", "failed",
)  # fmt: skip


def failure(kind: str, way: Way, said: str = "", *, known: str = "", shown: str = "") -> DctlError:
    """The error for one kind of failure. `known` and `shown` are fingerprints: of the key that
    was accepted, and of the one that the machine shows now; `said` is what a library said."""
    name, at = way.target.name, way.address
    where = f"{name} ({at})"
    match kind:
        case "denied":
            keys = ", ".join(str(key) for key in way.keys) or "none but the agent's"
            return UnreachableError(
                f"{where} does not let us in: none of our keys is accepted (tried: {keys})",
                hint=f"ssh-copy-id {at}, or name another key: hosts.{name}.key",
            )
        case "changed-key":
            return UnreachableError(
                f"the host key of {where} has changed: it was accepted as {known or 'another'},"
                f" and is now {shown}; either the machine was made anew, or somebody is in between",
                hint=f"if it was made anew: dctl host remove {name}; dctl host add {name} {at}",
            )
        case "unknown-key":
            return UnreachableError(
                f"{where} was never met before: its host key is not known",
                hint=f"dctl host add {name} {at}",
            )
        case "name":
            return UnreachableError(
                f"{where}: the name {way.host} cannot be resolved", hint="is it spelled right?"
            )
        case "refused":
            return UnreachableError(
                f"{where} refuses the connection: {said}" if said else f"{where} is not reached",
                hint="does its SSH server run, on that port?",
            )
        case "timeout":
            return UnreachableError(
                f"{where} did not answer in time: {said}",
                hint="it may be frozen, overloaded, or behind a firewall",
            )
        case "cut":
            return UnreachableError(
                f"the connection to {where} was cut: {said}", hint="the same command goes on"
            )
        case "sudo":
            return DctlError(
                f"{name}: sudo asks {way.user} for a password, and dctl has none",
                hint=f"on {name}: echo '{way.user} ALL=(ALL) NOPASSWD: ALL' >"
                " /etc/sudoers.d/draft; or connect as root",
            )
        case _:
            return DctlError(f"{where}: {said}")


_WORDS = (
    (r"REMOTE HOST IDENTIFICATION HAS CHANGED", CHANGED_KEY),
    (r"Host key verification failed|No .* host key is known", UNKNOWN_KEY),
    (r"Permission denied|Too many authentication failures", DENIED),
    (r"Could not resolve hostname", NAME),
    (r"timed out|banner exchange", TIMEOUT),
    (r"refused|No route|unreachable|administratively prohibited|open failed", REFUSED),
    (r"closed by|reset by|Broken pipe", CUT),
)


def of_ssh(said: str, way: Way, known: str = "") -> DctlError:
    """The error for what the ssh command printed when it failed; `known` is the fingerprint of the
    key that was accepted."""
    lines = [line for line in said.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "ssh gave no reason"
    for pattern, kind in _WORDS:
        if re.search(pattern, said):
            shown = re.search(r"SHA256:[\w+/]+", said)
            new = shown[0] if shown else "another key"
            return failure(kind, way, last, known=known, shown=new)
    return failure(FAILED, way, last)
