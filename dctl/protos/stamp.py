"""A stamp records what was generated from what, so that an unchanged build costs milliseconds.

It holds a digest over everything that goes in (protos, package, tool versions, our own recipe) and
one for every file that came out. A build that finds both unchanged has nothing to do; one that
does not generates anew and compares. A stamp is a cache: losing it costs a second, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Stamp:
    """Digest of what went in, and digests of what came out, by file name. `asked` is what
    draft.yaml said, and `draft` its digest: so that one that is unchanged need not be read."""

    inputs: str
    outputs: Mapping[str, str]
    draft: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_inputs(protos: Mapping[str, bytes], package: str, tools: Mapping[str, str]) -> str:
    """One digest over all that decides what is generated."""
    recipe = {file.name: digest(file.read_bytes()) for file in Path(__file__).parent.glob("*.py")}
    contents = {name: digest(content) for name, content in protos.items()}
    everything = [package, dict(tools), recipe, contents]
    return digest(json.dumps(everything, sort_keys=True).encode())


def read(path: Path) -> Stamp | None:
    """The stamp at `path`; None when there is none that makes sense."""
    try:
        found = json.loads(path.read_bytes())
        outputs, asked = dict(found["outputs"]), dict(found.get("asked", {}))
        return Stamp(str(found["inputs"]), outputs, str(found.get("draft", "")), asked)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(path: Path, stamp: Stamp) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(stamp), indent=1, sort_keys=True) + "\n")
