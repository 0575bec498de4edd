"""The page of the cluster spec, from its JSON Schema; the words around it are in spec_intro.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dctl.spec.schema import json_schema

Schema = Mapping[str, Any]

_INTRO = Path(__file__).with_name("spec_intro.md")
_PATTERNS = {  # what a pattern stands for, by a text that it matches
    "5s": "duration",
    "256M": "size",
    "1s..30s": "range of durations",
    "/path": "path",
    "a-name": "name",
}
# In the order in which a reader meets them; what is not named here follows.
_ORDER = ("Core", "Nats", "Blueprint", "Catalyst", "Fuse", "Envoy", "Service", "Health", "Route")


def page() -> str:
    """The whole page."""
    schema = json_schema()
    kinds = {name: kind for name, kind in schema["$defs"].items() if "properties" in kind}
    lines = [_INTRO.read_text(encoding="utf-8").rstrip(), ""]
    lines += _kind("The spec", schema)
    for name in [*_ORDER, *(name for name in kinds if name not in _ORDER)]:
        lines += _kind(name, kinds[name])
    return "\n".join(lines).rstrip() + "\n"


def _kind(name: str, kind: Schema) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    if text := " ".join(kind.get("description", "").split()):
        yield text
        yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    required = kind.get("required", ())
    for key, field in kind["properties"].items():
        default = "required" if key in required else _default(field)
        yield f"| `{key}` | {_shape(field)} | {default} | {_cell(field.get('description', ''))} |"
    yield ""


def _default(field: Schema) -> str:
    value = field.get("default")
    return "" if value in (None, "", [], {}) else f"`{json.dumps(value)}`"


def _shape(field: Schema) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field or "oneOf" in field:
        members = field.get("anyOf") or field["oneOf"]
        shapes = [_shape(m) for m in members if m.get("$ref") != "#/$defs/Variable"]
        return " or ".join(dict.fromkeys(shape for shape in shapes if shape))
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`".replace('"', "")
    kind = field.get("type")
    if kind == "null":
        return ""
    if kind == "object":
        inner = field.get("patternProperties", {}).values() or [field.get("additionalProperties")]
        shapes = [_shape(each) for each in inner if isinstance(each, Mapping)]
        return f"mapping to {shapes[0]}" if shapes else "mapping"
    if kind == "array":
        items = field.get("items")
        return f"list of {_shape(items)}" if items else "list"
    return _scalar(field)


def _scalar(field: Schema) -> str:
    kind = field.get("type")
    if isinstance(kind, list):
        return "text or number"
    if kind == "string" and "pattern" in field:
        pattern = re.compile(field["pattern"])
        return next((word for text, word in _PATTERNS.items() if pattern.search(text)), "text")
    if kind == "integer" and field.get("maximum") == 65535:
        return "port"
    words = {"string": "text", "integer": "number", "number": "number", "boolean": "true or false"}
    return words.get(str(kind), "any")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
