"""The kinds of the cluster spec and their fields, from its JSON Schema: for `dctl explain` and the
page of every key. A field is named by its path: `services.cart.health`, `core.nats`."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctl.errors import NotFoundError
from dctl.spec.schema import json_schema

Schema = Mapping[str, Any]

TOP = "Cluster"
"""The kind of the whole spec."""

_EXAMPLES = Path(__file__).with_name("examples")
_PATTERNS = {  # what a pattern stands for, by a text that it matches
    "5s": "duration",
    "256M": "size",
    "1s..30s": "range of durations",
    "/path": "path",
    "a-name": "name",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a field may hold, in words; `{Kind}` stands for a kind's name."""

    words: str

    @property
    def plain(self) -> str:
        return re.sub(r"\{(\w+)\}", r"\1", self.words)


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a kind. `default` is JSON, "" for none."""

    key: str
    shape: Shape
    default: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A mapping of the spec whose keys are fixed."""

    name: str
    meaning: str
    fields: tuple[Field, ...]

    @property
    def example(self) -> str:
        """A spec that says each of its keys, with a word on each."""
        return (_EXAMPLES / f"{self.name.lower()}.yaml").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to: a kind, or the `field` of the kind in which it is."""

    path: str
    kind: Kind
    field: Field | None = None


def kinds() -> Mapping[str, Kind]:
    """All of them by name, the whole spec first."""
    schema = _schema()
    models = {TOP: schema, **schema["$defs"]}
    return {name: _kind(name, model) for name, model in models.items() if "properties" in model}


def find(path: str) -> Found:
    """What is at `path`: keys with dots between them, from the top of a spec or from a kind's name.
    Below a mapping of names any name will do. Raises NotFoundError with what was meant."""
    known = kinds()
    steps = [step for step in re.split(r"[.\[\]]+", path) if step]
    by_name = {name.lower(): name for name in known}
    name, walked = TOP, ""
    if steps and steps[0] not in _schema()["properties"] and steps[0].lower() in by_name:
        name = by_name[steps[0].lower()]
        walked = steps.pop(0).lower()
    while steps:
        key = steps.pop(0)
        fields = {field.key: field for field in known[name].fields}
        if key not in fields:
            top = not walked
            raise _unknown(key, walked, [*fields, *(by_name if top else ())])
        walked += f".{key}" if walked else key
        value = _property(name, key)
        if steps and (_names(value) or _shape(value) == "mapping"):
            steps.pop(0)
            walked += ".NAME"
        elif steps and steps[0].isdecimal() and _items(value):
            steps.pop(0)
        below = _target(value)
        if below is None and steps and _shape(value) != "mapping":
            raise NotFoundError(
                f"{walked} is {fields[key].shape.plain}: there is no key below it",
                hint=f"dctl explain {walked}",
            )
        if below is None:
            return Found(walked, known[name], fields[key])
        name = below
    return Found(walked, known[name])


def _unknown(key: str, inside: str, known: list[str]) -> NotFoundError:
    near = difflib.get_close_matches(key.lower(), known, n=1)
    where = f"{inside} has no key" if inside else "there is no key or kind"
    meant = f'; did you mean "{near[0]}"?' if near else ""
    return NotFoundError(
        f'{where} "{key}"{meant}', hint=f"dctl explain {inside}".rstrip() + " shows what there is"
    )


@functools.cache
def _schema() -> Schema:
    return json_schema()


def _property(kind: str, key: str) -> Schema:
    model = _schema() if kind == TOP else _schema()["$defs"][kind]
    found: Schema = model["properties"][key]
    return found


def _target(value: Schema) -> str | None:
    """The kind that a value is, or a mapping or list of."""
    if "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        return None if name == "Variable" else name
    for each in (*_members(value), *_names(value), *_items(value)):
        if found := _target(each):
            return found
    return None


def _members(value: Schema) -> list[Schema]:
    return value.get("anyOf") or value.get("oneOf") or []


def _names(value: Schema) -> list[Schema]:
    """The shapes of what stands below names that the user picks."""
    if value.get("type") != "object":
        return [name for member in _members(value) for name in _names(member)]
    inner = value.get("patternProperties", {}).values() or [value.get("additionalProperties")]
    return [each for each in inner if isinstance(each, Mapping)]


def _items(value: Schema) -> list[Schema]:
    return [value["items"]] if value.get("type") == "array" and value.get("items") else []


def _kind(name: str, model: Schema) -> Kind:
    required = model.get("required", ())
    return Kind(
        name,
        " ".join(model.get("description", "").split()),
        tuple(
            Field(
                key,
                Shape(_shape(field)),
                _default(field),
                key in required,
                " ".join(field.get("description", "").split()),
            )
            for key, field in model["properties"].items()
        ),
    )


def _default(field: Schema) -> str:
    value = field.get("default")
    return "" if value in (None, "", [], {}) else json.dumps(value)


def _shape(field: Schema) -> str:
    if "$ref" in field:
        return f"{{{str(field['$ref']).rpartition('/')[2]}}}"
    if members := _members(field):
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
        shapes = [_shape(each) for each in _names(field)]
        return f"mapping to {shapes[0]}" if shapes else "mapping"
    if kind == "array":
        return "".join(f"list of {_shape(items)}" for items in _items(field)) or "list"
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


def lines_of(example: str) -> Iterator[str]:
    """An example without the head that every spec has."""
    seen = False
    for line in example.splitlines():
        if seen:
            yield line
        seen = seen or line.startswith("name:")
