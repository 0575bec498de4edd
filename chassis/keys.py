"""A model's keys: which variable sets which, and which keys it does not have. Pure."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from ruamel.yaml.error import YAMLError

from chassis.yaml import parse

Path = tuple[str, ...]
_Model = type[BaseModel]
_STRUCTURED = (Mapping, Sequence, Set, BaseModel)


def variable(path: Path) -> str:
    """The variable that sets a key: `service.network.bind_port` is
    DRAFT_SERVICE_NETWORK_BIND_PORT."""
    return "_".join(("DRAFT", *path)).upper()


def overlay(
    model: _Model, document: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], dict[Path, str], list[str]]:
    """The document with every variable in it that names a key of `model`; which ones, by key; and
    what is wrong with them, one line each."""
    result = dict(document)
    used: dict[Path, str] = {}
    problems = list(_mistyped(model, env))
    for path, annotation in _leaves(model):
        name = variable(path)
        if name not in env:
            continue
        value: Any = env[name]
        if _structured(annotation):
            try:
                value = parse(value)
            except YAMLError:
                problems.append(f"{name}: is not YAML, as this setting has to be")
                continue
        node = result
        for key in path[:-1]:
            below = node.get(key)
            node[key] = node = dict(below) if isinstance(below, Mapping) else {}
        node[path[-1]] = value
        used[path] = name
    return result, used, problems


def in_files(model: _Model, env: Mapping[str, str]) -> Iterator[str]:
    """The variables that are not set and whose NAME_FILE names the file of their value."""
    names = {variable(path) for path, _ in _leaves(model)}
    for name in sorted(names - env.keys()):
        if f"{name}_FILE" in env and f"{name}_FILE" not in names:
            yield name


def unknown(
    model: _Model, document: Mapping[str, Any], *, also: _Model | None = None, at: Path = ()
) -> Iterator[tuple[Path, str]]:
    """Each key of the document that the model does not have, with a guess at what was meant;
    `also` has keys to guess from. A model that says `extra` itself has its way."""
    fields = _fields(model)
    strict = model.model_config.get("extra") in (None, "forbid")
    for key, value in document.items():
        path = (*at, str(key))
        if key not in fields:
            if strict:
                guess = _near(str(key), [*fields, *(_fields(also) if also else ())])
                yield path, f'unknown key "{key}"{guess}'
        elif isinstance(value, Mapping) and (below := _section(fields[key])):
            yield from unknown(below, value, at=path)


def _mistyped(model: _Model, env: Mapping[str, str]) -> Iterator[str]:
    """Variables that begin like a section of the model and name no key in it."""
    leaves = dict(_leaves(model))
    known = {variable(path) for path in leaves} | {
        variable(path[:n]) for path in leaves for n in range(1, len(path))
    }
    sections = [variable((key,)) + "_" for key, kind in _fields(model).items() if _section(kind)]
    for name in sorted(env):
        if name not in known and name.startswith(tuple(sections)):
            yield f"{name}: sets no known key{_near(name, sorted(known))}"


def _leaves(model: _Model, at: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every key that a variable can set; a section that may be left out is one itself."""
    for name, annotation in _fields(model).items():
        below = _section(annotation)
        if below is None or below is not annotation:
            yield (*at, name), annotation
        if below is not None:
            yield from _leaves(below, (*at, name))


def _fields(model: _Model) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _section(annotation: Any) -> _Model | None:
    """The model in `Model` or `Model | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        found = [each for each in get_args(annotation) if each is not types.NoneType]
        return _section(found[0]) if len(found) == 1 else None
    return None


def _structured(annotation: Any) -> bool:
    """Whether values are maps, lists or the like, and never plain text."""
    origin = get_origin(annotation) or annotation
    if origin in (Union, types.UnionType):
        kinds = [each for each in get_args(annotation) if each is not types.NoneType]
        return bool(kinds) and all(_structured(each) for each in kinds)
    if origin is Annotated:
        return _structured(get_args(annotation)[0])
    text = isinstance(origin, type) and issubclass(origin, str | bytes)
    return isinstance(origin, type) and not text and issubclass(origin, _STRUCTURED)


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""
