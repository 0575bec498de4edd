"""A service more in a cluster spec; comments, quotes and the order of all else stay as they are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def with_service(text: str, name: str, service: Mapping[str, Any]) -> str:
    """The text of a spec, which holds, with a service at the end of its `services`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.util import load_yaml_guess_indent

    _, indent, offset = load_yaml_guess_indent(text)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # lines are broken where they were, and nowhere else
    yaml.indent(mapping=_mapping_indent(text), sequence=indent or 2, offset=offset or 0)
    spec = yaml.load(text)
    entry = CommentedMap(service)
    for value in entry.values():
        if isinstance(value, CommentedMap):
            value.fa.set_flow_style()
    services = spec.get("services")
    if services:
        services[name] = entry
    else:
        block = CommentedMap({name: entry})
        block.fa.set_block_style()
        spec["services"] = block
    out = io.StringIO()
    yaml.dump(spec, out)
    return out.getvalue()


def flow(mapping: Mapping[str, Any]) -> Any:
    """On one line: {a: b}."""
    from ruamel.yaml.comments import CommentedMap

    return CommentedMap(mapping)


def _mapping_indent(text: str) -> int:
    """By how much the first inner line is moved in; a comment is none."""
    for line in text.splitlines():
        bare = line.lstrip(" ")
        if bare and bare[0] not in "#-" and line != bare:
            return len(line) - len(bare)
    return 2
