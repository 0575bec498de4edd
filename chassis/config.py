"""Settings of a service: a YAML file, then DRAFT_* variables over it; typed, unknown keys refused.

`service.*` and `draft.*` are the chassis's own; every other top-level key belongs to the model
that the service gives. Values may be secrets: no message quotes one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from typing_extensions import TypeVar

from chassis.clients import Address, parse_address
from chassis.errors import ChassisError, ConfigError
from chassis.keys import in_files, overlay, unknown, variable
from chassis.tls import Identity, read_identity
from chassis.yaml import read_mapping


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
        return str(parse_address(text)) if text else ""


class Log(_Strict):
    """How logs look."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Scraping(_Strict):
    """Metrics for Prometheus, at ``/metrics`` of a port of their own; no port: none."""

    port: int | None = Field(default=None, ge=0, le=65535)
    address: str = Field(default="", description="what the registry tells of it, as host:port")

    @field_validator("address")
    @classmethod
    def _is_address(cls, text: str) -> str:
        return str(parse_address(text)) if text else ""


class Draft(_Strict):
    """The chassis itself. Times in seconds."""

    log: Log = Log()
    calls: Literal["any", "token"] = Field(
        default="any", description="token: calls to core services prove who makes them"
    )
    slow: float = Field(default=1.0, ge=0, description="a request takes, to be logged; 0: never")
    metrics: Scraping = Scraping()
    reflection: bool = Field(default=True, description="tell who asks what there is to call")
    beat: float = Field(default=5.0, gt=0, description="between two signs of life")
    drain: float = Field(default=0.5, ge=0, description="without a call, before we end")
    grace: float = Field(default=5.0, ge=0, description="for calls that run when we end")


class Platform(_Strict):
    """The keys of the chassis."""

    service: Service = Service()
    draft: Draft = Draft()


class Nothing(_Strict):
    """The settings of a service that has none."""


# The default is for type checkers: `Chassis()` is a Chassis[Nothing]. typing has it from 3.13 on.
S = TypeVar("S", bound=BaseModel, default=Nothing)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Config(Generic[S]):
    """Everything that a service was told. `instance` is its stable name: a restart under it
    replaces its entry in the registry. With `tls` all that we serve and call is encrypted."""

    platform: Platform
    settings: S
    instance: str
    nonce_file: Path | None
    tls: Identity | None = None

    @property
    def name(self) -> str:
        return self.platform.service.name

    def bind(self, default_port: int) -> Address:
        """Where to listen."""
        network = self.platform.service.network
        port = default_port if network.bind_port is None else network.bind_port
        return Address(network.bind_address, port)

    def nonce(self) -> str:
        """The cluster's secret as of now; it may be changed in place. Raises ConfigError."""
        if self.nonce_file is None:
            return ""
        try:
            return self.nonce_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            why = "is not text"
        raise ConfigError(f"DRAFT_NONCE_FILE: {self.nonce_file} {why}")

    def advertise(self, bound: Address) -> Address:
        """Where others reach what listens at `bound`."""
        internal = self.platform.service.network.internal
        host = internal.host or ("127.0.0.1" if bound.host in ("0.0.0.0", "::") else bound.host)
        return Address(host, internal.port or bound.port)


RESERVED = ("config", "instance", "nonce_file", "tls_file")
"""DRAFT_<these> are variables that are no keys."""


def load(
    model: type[S], source: Path | Mapping[str, Any] | None, *, env: Mapping[str, str], name: str
) -> Config[S]:
    """Read the file and put `env` over it; a mapping stands for both. The file is DRAFT_CONFIG,
    else `source`, else config.yaml beside the program, if there is one.

    Raises ConfigError with every problem.
    """
    _check(model)
    if isinstance(source, Mapping):
        where, document, env = "settings", dict(source), {}
    else:
        where, document = _file(source, env)
    own = {key: document[key] for key in document if key not in Platform.model_fields}
    theirs = {key: document[key] for key in document if key in Platform.model_fields}
    problems: list[str] = []
    platform = _validated(Platform, theirs, where, env, problems)
    settings = _validated(model, own, where, env, problems)
    if problems or platform is None or settings is None:
        raise ConfigError("\n".join(problems))
    told = platform.service.name or name or Path(sys.argv[0]).resolve().parent.name
    service = platform.service.model_copy(update={"name": told})
    platform = platform.model_copy(update={"service": service})
    file = env.get("DRAFT_NONCE_FILE")
    tls = env.get("DRAFT_TLS_FILE")
    config = Config(
        platform,
        settings,
        env.get("DRAFT_INSTANCE", ""),
        Path(file) if file else None,
        read_identity(Path(tls)) if tls else None,
    )
    config.nonce()
    return config


def _check(model: type[BaseModel]) -> None:
    for name in model.model_fields:
        if name in Platform.model_fields or name in RESERVED:
            raise ChassisError(
                f'{model.__name__}: "{name}" is the chassis\'s own; rename the field'
            )


def _file(source: Path | None, env: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    named = Path(env["DRAFT_CONFIG"]) if env.get("DRAFT_CONFIG") else source
    path = named or Path(sys.argv[0]).resolve().parent / "config.yaml"
    if named is None and not path.is_file():
        return str(path), {}
    return str(path), read_mapping(path)


def _validated(
    model: type[M],
    document: dict[str, Any],
    where: str,
    env: Mapping[str, str],
    problems: list[str],
) -> M | None:
    """The document with the variables over it, as a model; None after a problem."""
    also = Platform if model is Nothing else None  # a mistyped key of ours lands here
    said = dict(unknown(model, document, also=also))
    problems += [f"{where}: {'.'.join(path)}: {text}" for path, text in said.items()]
    document, used, wrong = overlay(model, document, _with_files(model, env, problems))
    problems += wrong
    try:
        # Text is turned into numbers where numbers are wanted: variables are always text.
        validated = model.model_validate(document)
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            path = tuple(str(part) for part in problem["loc"])
            if path in said:
                continue
            text = problem["msg"].removeprefix("Value error, ")
            match problem["type"]:
                case "extra_forbidden":
                    text = f'unknown key "{path[-1]}"'
                case "missing":
                    text = f"is missing: set it there, or as {variable(path)}"
            place = next(
                (used[path[:n]] for n in range(len(path), 0, -1) if path[:n] in used), where
            )
            problems.append(": ".join(part for part in (place, ".".join(path), text) if part))
        return None
    return validated


def _with_files(
    model: type[BaseModel], env: Mapping[str, str], problems: list[str]
) -> Mapping[str, str]:
    """The variables, with those whose value is in a file: secrets are delivered so."""
    whole = dict(env)
    for name in in_files(model, env):
        file = whole.pop(f"{name}_FILE")
        try:
            whole[name] = Path(file).read_text(encoding="utf-8").removesuffix("\n")
        except OSError as error:
            problems.append(f"{name}_FILE: {file} cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            problems.append(f"{name}_FILE: {file} is not text")
    return whole


def environment() -> Mapping[str, str]:
    """The process's environment; a seam for tests."""
    return os.environ
