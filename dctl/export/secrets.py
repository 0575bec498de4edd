"""Secrets in what is exported: only their names. What looks like one is treated as one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dctl.engine.catalogue.containers import FILES
from dctl.engine.catalogue.site import ENGINE, NONCE, OBJECTS
from dctl.engine.hiding import is_secret_name, without_secrets
from dctl.hosts.docker import ContainerSpec
from dctl.secrets.references import is_reference, secret_name


def named(source: str) -> str:
    """The name of a secret: of one of the spec, or of one that dctl would have made."""
    return secret_name(source) or source


def looks_secret(name: str, value: str) -> bool:
    """Whether a variable is one that must not be written down."""
    return (
        bool(value)
        and not is_reference(value)
        and (is_secret_name(name) or without_secrets(value) != value)
    )


def how_to_make(name: str, spec: Mapping[str, Any]) -> str:
    """What prints the content of a secret of that name, or whence it comes, in words."""
    if name in (ENGINE, OBJECTS):
        return f"printf '{name}: \"%s\"\\n' $(openssl rand -hex 24)"
    if name == NONCE:
        return "openssl rand -hex 24"
    if name.startswith(f"{NONCE}-"):
        service = name.removeprefix(f"{NONCE}-")
        made = "openssl dgst -sha256 -hmac TEXT-OF-NONCE -r | cut -d' ' -f1"
        return f"printf 'draft {service}' | {made}"
    source = spec.get(name)
    return f"the value of the spec's secret {name}" + (f" ({source})" if source else "")


def file_secrets(spec: ContainerSpec) -> tuple[dict[str, str], dict[str, str]]:
    """The files of a container: those that can be written down (path -> text), and those that look
    like secrets (path -> the name that each gets)."""
    plain: dict[str, str] = {}
    secret: dict[str, str] = {}
    for path, text in spec.files.items():
        ours = path.startswith(f"{FILES}/")
        if not ours and ("PRIVATE KEY-----" in text or without_secrets(text) != text):
            secret[path] = re.sub(r"[^a-z0-9-]+", "-", path.lower()).strip("-")
        else:
            plain[path] = text
    return plain, secret
