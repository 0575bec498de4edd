"""The cluster spec: one YAML file to one typed value, or every problem with its position.

loading.py     the way in: file -> tree -> model + rules -> Loaded
model.py       the typed spec; its parts in workload.py and core.py, its scalars in types.py
tree.py        YAML to a tree with positions; bombs, tags and duplicate keys are refused there
interpolate.py ${VAR} in values
translate.py   pydantic's errors in our words, at their places
validate.py    rules between values
problems.py    a problem and how it is printed
units.py       durations and sizes;  scalars.py  scalars that remember their writing
schema.py      JSON Schema for editors

The face is loaded when it is used: units are cheap, the model is not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dctl.spec.loading import Loaded, load
    from dctl.spec.model import Cluster

__all__ = ["Cluster", "Loaded", "load"]

_HOMES = {"Cluster": "dctl.spec.model", "Loaded": "dctl.spec.loading", "load": "dctl.spec.loading"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
