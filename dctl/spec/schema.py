"""The JSON Schema of the cluster spec, for editors and other tools.

pydantic knows the shape; what it cannot know is added here: `x-...` keys, `${...}` where a number
or a word stands, and which keys exclude each other.
"""

from __future__ import annotations

from typing import Any

from dctl.spec.model import API_VERSION, Cluster
from dctl.spec.validate import ONE_OF

_PLAIN: dict[Any, Any] = {"string": str, "integer": int, "boolean": bool}
_VARIABLE = {"$ref": "#/$defs/Variable"}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12 of a cluster spec file."""
    schema = Cluster.model_json_schema()
    models = schema["$defs"]
    for model in (schema, *models.values()):
        _open_to_extensions(model)
        model["properties"] = {k: _value(v) for k, v in model.get("properties", {}).items()}
    for name, keys in ONE_OF.items():
        models[name]["oneOf"] = [{"required": [key]} for key in keys]
    models["Variable"] = {
        "type": "string",
        "pattern": r"\$\{",
        "description": "${NAME}, ${NAME:-default} or ${NAME:?message}",
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Draft cluster spec ({API_VERSION})",
    }
    return head | {key: value for key, value in schema.items() if key not in head}


def _open_to_extensions(model: dict[str, Any]) -> None:
    if model.get("additionalProperties") is False:
        model["patternProperties"] = {"^x-": {}}


def _value(schema: dict[str, Any]) -> dict[str, Any]:
    """One property: variables are welcome, and only defaults in the spec's own notation stay
    (a duration's would be a number of seconds)."""
    shape = dict(schema)
    shape.pop("title", None)
    described = {"description": shape.pop("description")} if "description" in shape else {}
    default = shape.pop("default", None)
    kind = shape.get("type")
    if isinstance(default, _PLAIN.get(str(kind), ())) and default != "":
        described["default"] = default
    if values := shape.get("patternProperties"):
        shape["patternProperties"] = {key: _value(value) for key, value in values.items()}
        shape["additionalProperties"] = False
    strict = "pattern" in shape or "enum" in shape
    if strict or kind in ("integer", "number", "boolean"):
        shape = {"anyOf": [shape, _VARIABLE]}
    elif "anyOf" in shape:
        shape["anyOf"] = [*shape["anyOf"], _VARIABLE]
    return described | shape
