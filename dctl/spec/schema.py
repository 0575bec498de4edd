"""The JSON Schema of the cluster spec, for editors and other tools.

pydantic knows the shape; what it cannot know is added here: `x-...` keys, `${...}` where a number
or a word stands, and which keys exclude each other.
"""

from __future__ import annotations

from typing import Any

from dctl.spec.model import API_VERSION, Cluster
from dctl.spec.types import DURATION_PATTERN, LOOPBACK, SIZE_PATTERN
from dctl.spec.units import duration_text, size_text
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
    """One property: variables are welcome, and a default is in the spec's own notation."""
    shape = dict(schema)
    shape.pop("title", None)
    described = {"description": shape.pop("description")} if "description" in shape else {}
    default = _default(shape.pop("default", None), shape)
    kind = shape.get("type")
    if default not in (None, ""):
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


def _default(value: Any, shape: dict[str, Any]) -> Any:
    """A default as a spec would say it; None where that is more than one value."""
    if value is not None and shape.get("pattern") == DURATION_PATTERN:
        return duration_text(value)
    if value is not None and shape.get("pattern") == SIZE_PATTERN:
        return size_text(value)
    match value:
        case {"low": low, "high": high}:
            return f"{duration_text(low)}..{duration_text(high)}"
        case {"host": host, "port": port}:
            return port if host == LOOPBACK else f"{host}:{port}"
    return value if isinstance(value, _PLAIN.get(str(shape.get("type")), ())) else None
