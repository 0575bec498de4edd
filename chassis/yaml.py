"""A file of settings, read strictly. What is wrong is told by place, never by quoting: the file may
hold secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from chassis.errors import ConfigError


def read_mapping(path: Path) -> dict[str, Any]:
    """The file's mapping; an empty file is an empty one. Raises ConfigError."""
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except YAMLError as error:
        raise ConfigError(f"{path}{_place(error)}: {_words(error)}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a mapping of settings")
    return document


def parse(text: str) -> Any:
    """The value that YAML text stands for. Raises YAMLError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except ValueError as error:  # such as a date that does not exist
        raise YAMLError(str(error)) from None


def _place(error: YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _words(error: YAMLError) -> str:
    if isinstance(error, DuplicateKeyError):
        return "this key stands here twice"
    return "is not YAML; look for a missing quote, colon or indentation"
