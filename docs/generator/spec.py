"""The page of the cluster spec, from its JSON Schema; the words around it are in spec_intro.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from dctl.spec.kinds import TOP, Field, Kind, kinds

_INTRO = Path(__file__).with_name("spec_intro.md")
# In the order in which a reader meets them; what is not named here follows.
_ORDER = (
    TOP, "Core", "Nats", "Blueprint", "Catalyst", "Fuse", "Envoy", "Service", "Health", "Route",
)  # fmt: skip


def page() -> str:
    """The whole page."""
    known = kinds()
    lines = [_INTRO.read_text(encoding="utf-8").rstrip(), ""]
    for name in [*_ORDER, *(name for name in known if name not in _ORDER)]:
        lines += _kind("The spec" if name == TOP else name, known[name])
    return "\n".join(lines).rstrip() + "\n"


def _kind(title: str, kind: Kind) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    if kind.meaning:
        yield kind.meaning
        yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for field in kind.fields:
        yield f"| `{field.key}` | {_linked(field)} | {_default(field)} | {_cell(field.meaning)} |"
    yield ""


def _linked(field: Field) -> str:
    return re.sub(r"\{(\w+)\}", lambda kind: f"[{kind[1]}](#{kind[1].lower()})", field.shape.words)


def _default(field: Field) -> str:
    return "required" if field.required else f"`{field.default}`" if field.default else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
