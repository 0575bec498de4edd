"""Settings of a service: a YAML file, then DRAFT_* variables over it; typed, unknown keys refused.

`service.*` and `draft.*` are the chassis's own; every other top-level key belongs to the model
that the service gives. A variable's name is its key's path: `service.network.bind_port` is
DRAFT_SERVICE_NETWORK_BIND_PORT.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chassis.clients import Address, parse_address
from chassis.errors import ConfigError

S = TypeVar("S", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Advertised(_Strict):
    """Where others reach us; by default where we listen."""

    host: str = ""
    port: int = Field(default=0, ge=0, le=65535)


class Network(_Strict):
    """Where we listen. Port 0: any that is free."""

    bind_address: str = "127.0.0.1"
    bind_port: int | None = Field(default=None, ge=0, le=65535)
    internal: Advertised = Advertised()


class Service(_Strict):
    """Who we are and how Blueprint is found; no `entrypoint`: we run by ourselves."""

    name: str = ""
    entrypoint: str = ""
    group: str = ""
    metadata: dict[str, str] = Field(default_factory=dict)
    network: Network = Network()

    @field_validator("entrypoint")
    @classmethod
    def _is_address(cls, text: str) -> str:
        return str(parse_address(text)) if text else text


class Log(_Strict):
    """How logs look."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Draft(_Strict):
    """The chassis itself. Times in seconds."""

    log: Log = Log()
    beat: float = Field(default=5.0, gt=0, description="between two signs of life")
    drain: float = Field(default=0.5, ge=0, description="for proxies to notice that we end")
    grace: float = Field(default=5.0, ge=0, description="for calls that run when we end")


class Platform(_Strict):
    """The keys of the chassis."""

    service: Service = Service()
    draft: Draft = Draft()


class Nothing(_Strict):
    """The settings of a service that has none."""


@dataclass(frozen=True, slots=True)
class Config(Generic[S]):
    """Everything that a service was told. `instance` is its stable name: a restart under it
    replaces its entry in the registry."""

    platform: Platform
    settings: S
    instance: str
    nonce: str

    @property
    def name(self) -> str:
        return self.platform.service.name

    def bind(self, default_port: int) -> Address:
        """Where to listen."""
        network = self.platform.service.network
        port = default_port if network.bind_port is None else network.bind_port
        return Address(network.bind_address, port)

    def advertise(self, bound: Address) -> Address:
        """Where others reach what listens at `bound`."""
        internal = self.platform.service.network.internal
        host = internal.host or ("127.0.0.1" if bound.host in ("0.0.0.0", "::") else bound.host)
        return Address(host, internal.port or bound.port)


def load(
    model: type[S], source: Path | Mapping[str, Any] | None, *, env: Mapping[str, str], name: str
) -> Config[S]:
    """Read `source` (default: DRAFT_CONFIG, else config.yaml beside the program, if there is
    one), put `env` over it and check it all. Raises ConfigError with every problem."""
    where, document = _document(source, env)
    own = {key: document[key] for key in document if key not in Platform.model_fields}
    theirs = {key: document[key] for key in document if key in Platform.model_fields}
    used: dict[tuple[str, ...], str] = {}
    _overlay(theirs, Platform, env, used)
    _overlay(own, model, env, used)
    problems: list[str] = []
    platform = _validate(Platform, theirs, where, used, problems)
    settings = _validate(model, own, where, used, problems)
    if problems or platform is None or settings is None:
        raise ConfigError("\n".join(problems))
    told = platform.service.name or name or Path(sys.argv[0]).resolve().parent.name
    service = platform.service.model_copy(update={"name": told})
    return Config(
        platform.model_copy(update={"service": service}),
        settings,
        instance=env.get("DRAFT_INSTANCE", ""),
        nonce=_nonce(env),
    )


def _document(
    source: Path | Mapping[str, Any] | None, env: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    if isinstance(source, Mapping):
        return "settings", dict(source)
    named = source or (Path(env["DRAFT_CONFIG"]) if env.get("DRAFT_CONFIG") else None)
    path = named or Path(sys.argv[0]).resolve().parent / "config.yaml"
    if named is None and not path.is_file():
        return str(path), {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return str(path), {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: must be a mapping of settings")
    return str(path), document


def _overlay(
    document: dict[str, Any],
    model: type[BaseModel],
    env: Mapping[str, str],
    used: dict[tuple[str, ...], str],
) -> None:
    """Put each variable that names a key of `model` into the document."""
    for path in _leaves(model):
        variable = "_".join(("DRAFT", *path)).upper()
        if variable in env:
            node = document
            for key in path[:-1]:
                below = node.get(key)
                node[key] = node = dict(below) if isinstance(below, Mapping) else {}
            node[path[-1]] = env[variable]
            used[path] = variable


def _leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, (*path, name))
        else:
            yield (*path, name)


M = TypeVar("M", bound=BaseModel)


def _validate(
    model: type[M],
    document: dict[str, Any],
    where: str,
    used: Mapping[tuple[str, ...], str],
    problems: list[str],
) -> M | None:
    try:
        # Text is turned into numbers where numbers are wanted: variables are always text.
        return model.model_validate(document)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            path = tuple(str(part) for part in problem["loc"])
            place = used.get(path, where)
            key = ".".join(path)
            if problem["type"] == "extra_forbidden":
                text = f'unknown key "{path[-1]}"' + _near(model, path)
            else:
                text = problem["msg"].removeprefix("Value error, ")
            problems.append(f"{place}: {key}: {text}")
        return None


def _near(model: type[BaseModel], path: tuple[str, ...]) -> str:
    for part in path[:-1]:
        field = model.model_fields.get(part)
        below = field.annotation if field else None
        if not (isinstance(below, type) and issubclass(below, BaseModel)):
            return ""
        model = below
    names = list(model.model_fields)
    if model is Nothing:
        names = list(Platform.model_fields)
    near = difflib.get_close_matches(path[-1], names, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _nonce(env: Mapping[str, str]) -> str:
    file = env.get("DRAFT_NONCE_FILE")
    if not file:
        return ""
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"DRAFT_NONCE_FILE: {file} cannot be read: {error}") from None


def environment() -> Mapping[str, str]:
    """The process's environment; a seam for tests."""
    return os.environ
