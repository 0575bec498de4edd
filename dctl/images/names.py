"""How images are called where they are released. Pure."""

from __future__ import annotations

CORE = "draft-core"


def released(registry: str, cluster: str, service: str, tag: str) -> str:
    """The image of a service in a registry; without one on an engine."""
    return f"{_prefix(registry)}{cluster}-{service}:{tag}"


def released_core(registry: str, version: str) -> str:
    """The image of the core of that version of Draft."""
    return f"{_prefix(registry)}{CORE}:{version}"


def _prefix(registry: str) -> str:
    return f"{registry.rstrip('/')}/" if registry else ""
