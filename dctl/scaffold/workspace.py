"""A new workspace."""

from __future__ import annotations

import json
from pathlib import Path

from dctl.errors import DctlError
from dctl.workspace import FILE, find_root

SPEC = "cluster.yaml"
SCHEMA = ".draft/cluster.schema.json"

_BUF = """\
# The rules of `dctl api lint` and `dctl api breaking`, for buf.
version: v2
modules:
  - path: .
lint:
  use: [STANDARD, COMMENTS]
breaking:
  use: [FILE]
"""

_IGNORE = """\
.draft/
.secrets/
.venv/
__pycache__/
.pytest_cache/
"""


def files(name: str, repo: str, trunk_branch: str, package: str) -> dict[str, str]:
    """Those of a workspace, by their paths in it."""
    return {
        FILE: f"""\
# A workspace of Draft: dctl, called anywhere below, means this cluster and these protos.
name: {name}
repo: {_scalar(repo)}
trunk_branch: {_scalar(trunk_branch)}
cluster: {SPEC}
api: {{folder: api, package: {package}, out: api/gen}}
environments: []          # of prod there is a cluster.prod.yaml, for: dctl infra apply -e prod
""",
        SPEC: f"""\
# yaml-language-server: $schema={SCHEMA}
apiVersion: draft/v1
kind: Cluster
name: {name}

core: {{}}                  # all of it, on this machine's loopback: dctl explain core

services: {{}}
""",
        "api/buf.yaml": _BUF,
        ".gitignore": _IGNORE,
    }


def refuse_inside(root: Path) -> None:
    """Raise DctlError when `root` is in a workspace, or is one."""
    outer = find_root(root)
    if outer == root:
        raise DctlError(
            f"{root} is a workspace already", hint="give it a name here: dctl context import"
        )
    if outer is not None:
        raise DctlError(
            f"{root} lies in the workspace at {outer}: a workspace inside another is neither's",
            hint="make it elsewhere, or a service of that one: dctl service new NAME",
        )


def create(root: Path, contents: dict[str, str]) -> list[str]:
    """Write what is not there yet; the names of what was written. draft.yaml comes last: it makes
    the folder a workspace."""
    written = []
    for name in sorted(contents, key=lambda name: (name == FILE, name)):
        if not (root / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(contents[name], encoding="utf-8")
            written.append(name)
    write_schema(root)
    return written


def write_schema(root: Path) -> None:
    """What editors check the cluster spec with."""
    from dctl.spec.schema import json_schema

    (root / SCHEMA).parent.mkdir(exist_ok=True)
    (root / SCHEMA).write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")


def _scalar(text: str) -> str:
    """As YAML reads it again, with quotes where it needs them."""
    plain = text.replace("/", "").replace("-", "").replace(".", "").replace("_", "")
    return text if plain.isalnum() and plain[:1].isalpha() else json.dumps(text, ensure_ascii=False)
