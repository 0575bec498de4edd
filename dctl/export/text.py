"""Documents as YAML that every parser reads alike."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What is no number, truth value or null in any version of YAML: "no", "1_0" and "017" are quoted.
_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*(?: [\w./-]+)*", re.ASCII)
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", ".nan", ".inf"}


def to_text(documents: Iterable[Mapping[str, Any]], head: str) -> str:
    """The documents after `head`, lines of a comment."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """Of these documents alone: what is added to one counts for all of its class."""

    Representer.add_representer(str, _text)
    yaml = YAML()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.width = 1 << 20
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.ignore_aliases = lambda data: True  # an anchor would be a riddle to a reader
    texts = []
    for document in documents:
        text = io.StringIO()
        yaml.dump(document, text)
        texts.append(text.getvalue())
    lines = "".join(f"# {line}".rstrip() + "\n" for line in head.splitlines())
    return lines + "---\n".join(texts)


def _text(representer: Any, text: str) -> Any:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    several = "\n" in text and not re.search(r"[ \t]\n|\A\s|[^\n\x20-\x7e]", text)
    style = "|" if several else None if plain else '"'
    return representer.represent_scalar("tag:yaml.org,2002:str", text, style=style)
