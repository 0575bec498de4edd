"""The cluster spec: its YAML files to one typed value, or every problem with its position.

loading.py     the way in: files -> one tree -> model + rules -> Loaded
variant.py     which variant: the overlays of environments, and profiles
files.py       reads each file once, all within one budget
include.py     a file and what it includes as one tree; where the paths in it start
layers.py      how trees become one: overlays win, included files must agree
inventory.py   hosts and groups from files;  profiles.py  what is there only when asked for
placement.py   which hosts a selector means
model.py       the typed spec; its parts in workload.py and core.py, its scalars in types.py
tree.py        YAML to a tree with positions; bombs, tags and duplicate keys are refused there
interpolate.py ${VAR} in values
translate.py   pydantic's errors in our words, at their places
validate.py    rules between values
problems.py    a problem and how it is printed
units.py       durations and sizes;  scalars.py  scalars that remember their writing
schema.py      JSON Schema for editors;  kinds.py  its kinds and keys by path, with examples/

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
