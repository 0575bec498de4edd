"""Whether a manifest is one that Tekton knows: by its published shapes (v1.json says whence they
are), and by Kubernetes' own for what it takes from there."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

from tests.support import kubernetes

_ANY: dict[str, Any] = {}
# Published as the Go type that reads text as well as lists; in a manifest they are just values.
_VALUES = ("v1.ParamValue",)


def validate(manifest: Any) -> None:
    """Raises ValidationError for what is no Task, Pipeline or PipelineRun, or says more."""
    schema = {"$ref": f"#/$defs/v1.{manifest['kind']}", "$defs": _definitions()}
    jsonschema.Draft202012Validator(schema).validate(manifest)


@functools.cache
def _definitions() -> dict[str, Any]:
    own = json.loads(Path(__file__).with_name("v1.json").read_text())["definitions"]
    own = {name: _strict(shape) for name, shape in own.items()}
    own |= dict.fromkeys(_VALUES, _ANY)
    theirs = kubernetes.definitions()
    missing = {name for shape in own.values() for name in _references(shape)} - set(own)
    for name in missing:
        kind = name.removeprefix("v1.")
        for group in ("io.k8s.api.core", "io.k8s.apimachinery.pkg.apis.meta"):
            if f"{group}.v1.{kind}" in theirs:
                own[name] = {"$ref": f"#/$defs/{group}.v1.{kind}"}
                break
        else:
            own[name] = _ANY
    return {**theirs, **own}


def _strict(shape: Any) -> Any:
    if isinstance(shape, list):
        return [_strict(each) for each in shape]
    if not isinstance(shape, dict):
        return shape
    made = {key: _strict(value) for key, value in shape.items()}
    if isinstance(made.get("$ref"), str):
        made["$ref"] = made["$ref"].replace("#/definitions/", "#/$defs/")
    if isinstance(made.get("properties"), dict) and made.get("type") == "object":
        made.setdefault("additionalProperties", False)
    return made


def _references(shape: Any) -> set[str]:
    if isinstance(shape, dict):
        own = {shape["$ref"].rpartition("/")[2]} if isinstance(shape.get("$ref"), str) else set()
        return own.union(*map(_references, shape.values()))
    if isinstance(shape, list):
        return set().union(*map(_references, shape))
    return set()
