"""Whether a manifest is one that Kubernetes knows, by its published schemas, strictly: an unknown
key is an error. They come with kubernetes-validate, which reads them anew for each manifest."""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import Any

import jsonschema

OLDEST, NEWEST = "1.30", "1.37"


def validate(manifest: Any, version: str = NEWEST) -> None:
    """Raises ValidationError."""
    _validator(manifest["apiVersion"], manifest["kind"], version).validate(manifest)


@functools.cache
def definitions(version: str = NEWEST) -> dict[str, Any]:
    """All shapes of a version by their full names."""
    path = f"kubernetes-json-schema/v{version}.0-local-strict/_definitions.json"
    text = resources.files("kubernetes_validate").joinpath(path).read_text()
    found: dict[str, Any] = json.loads(text)["$defs"]
    return found


@functools.cache
def _validator(api: str, kind: str, version: str) -> jsonschema.Draft202012Validator:
    group, _, of = api.rpartition("/")
    wanted = {"group": group, "version": of, "kind": kind}
    known = definitions(version)
    (name,) = [
        name
        for name, shape in known.items()
        if wanted in shape.get("x-kubernetes-group-version-kind", ())
    ]
    return jsonschema.Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": known})
