"""The typed scalars of the spec: what is accepted, and the sentence when it is not.

Each type is an `Annotated` alias; its parser raises ValueError with words that complete
"services.cart.replicas: ...". No message repeats the value: it may have come from a secret.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, WithJsonSchema

from dctl.spec.scalars import plain, resolve
from dctl.spec.units import parse_duration, parse_size

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
LOCAL = "local"  # the name of this machine where a spec has no hosts

Runtime = Literal["process", "docker", "systemd"]
Condition = Literal["started", "healthy", "completed"]

# Room is left below DNS's 63 for what dctl appends to make an instance's name: "-<replica>".
_NAME = r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?"
_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_PACKAGE = r"[a-z][a-z0-9_]{0,62}"
_SECRET = r"secret://" + _NAME
_HOST = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\]"
_IMAGE = r"[\w.-]+(?::\d+)?(?:/[\w.-]+)*(?::[\w][\w.-]*)?(?:@sha256:[0-9a-f]{64})?"
DURATION_PATTERN = r"^(\d+(\.\d+)?(d|h|ms|m|s))+$"
SIZE_PATTERN = r"^\d+(\.\d+)?(B|[KMGT]i?B?)$"
_DURATION_SCHEMA = {"type": "string", "pattern": DURATION_PATTERN}
_PORT_SCHEMA = {"type": "integer", "minimum": 0, "maximum": 65535}


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. Port 0 means: dctl picks one. `target` is the port inside a
    container when it differs from the one outside. `given`: the spec names the address."""

    host: str
    port: int
    target: int | None = None
    given: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Range:
    """From `low` to `high` seconds."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Selector:
    """Which hosts: the one called `host`, or those that carry all `labels`."""

    host: str = ""
    labels: Mapping[str, str] | None = None

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        if self.labels is None:
            return name == self.host
        return all(labels.get(key) == value for key, value in self.labels.items())


@dataclass(frozen=True, slots=True)
class SshTarget:
    """`[user@]host[:port]`; empty user and port 0 leave the choice to ssh's own configuration."""

    host: str
    user: str = ""
    port: int = 0


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | int | float):
        raise ValueError(f'must be text; write it in quotes: "{parse_written(value)}"')
    raise ValueError("must be text")


def parse_written(value: Any) -> str:
    """A scalar as it was written; how environment variables and versions are read."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(getattr(value, "text", value))
    if value is None:
        raise ValueError('is empty; write "" for an empty text')
    raise ValueError("must be text or a number")


_MOST_RATE = 1_000_000

# Numbers and truth values are welcome as text that reads as one: that is what ${VAR} gives.


def _whole(value: Any) -> int:
    value = resolve(value) if isinstance(value, str) else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be a whole number")
    if re.match(r"[-+]?0\d", getattr(value, "text", "")):
        raise ValueError("a leading zero does not mean octal here: leave it out, or write 0o...")
    return int(value)


def _number(value: Any) -> float:
    value = resolve(value) if isinstance(value, str) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")
    return float(value)


def _flag(value: Any) -> bool:
    value = resolve(value) if isinstance(value, str) else value
    if not isinstance(value, bool):
        raise ValueError("must be true or false (in YAML 1.2, yes and on are text)")
    return value


def _count(value: Any) -> int:
    number = _whole(value)
    if not 0 <= number <= 1000:
        raise ValueError("must be between 0 and 1000")
    return number


def _rate(value: Any) -> int:
    number = _whole(value)
    if not 0 <= number <= _MOST_RATE:
        raise ValueError(f"must be between 0 and {_MOST_RATE}")
    return number


def _positive(value: Any) -> int:
    number = _whole(value)
    if not 1 <= number <= 1000:
        raise ValueError("must be between 1 and 1000")
    return number


def _quorum(value: Any) -> int:
    number = _whole(value)
    if number not in (1, 3, 5):
        raise ValueError("must be 1, 3 or 5: a majority of the nodes has to agree")
    return number


def _port(value: Any) -> int:
    number = _whole(value)
    if not 0 <= number <= 65535:
        raise ValueError("a port is between 0 (dctl picks one) and 65535")
    return number


def _cpus(value: Any) -> float:
    number = _number(value)
    if not 0 < number <= 4096:
        raise ValueError("must be more than 0, such as 0.5 or 2")
    return number


def _duration(value: Any) -> float:
    # A bare number goes to the parser as it was written: it knows what to say about that.
    return parse_duration(parse_written(value))


def _interval(value: Any) -> float:
    seconds = _duration(value)
    if seconds <= 0:
        raise ValueError("must be more than 0s")
    return seconds


def _size(value: Any) -> int:
    size = parse_size(parse_written(value))
    if size <= 0:
        raise ValueError("must be more than 0")
    return size


def _range(value: Any) -> Range:
    low, dots, high = _text(value).partition("..")
    if not dots:
        raise ValueError("must be a range of durations such as 1s..30s")
    result = Range(parse_duration(low), parse_duration(high))
    if result.low > result.high:
        raise ValueError("the range starts after its end")
    return result


def parse_address(value: Any) -> Address:
    """`port`, `address:port` or `address:port:port-in-container`, or `port:port-in-container`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return Address(LOOPBACK, _port(value))
    wanted = "must be a port or address:port, such as 8080 or 0.0.0.0:8080"
    if not isinstance(value, str):
        raise ValueError(wanted)
    match = re.fullmatch(rf"(?:({_HOST}):)??(\d{{1,5}})(?::(\d{{1,5}}))?", value, re.ASCII)
    if match is None:
        raise ValueError(wanted)
    host, port, target = match.groups()
    return Address(
        (host or LOOPBACK).strip("[]"),
        _port(int(port)),
        _port(int(target)) if target else None,
        given=host is not None,
    )


def parse_ssh(value: Any) -> SshTarget:
    match = re.fullmatch(
        rf"(?:([A-Za-z_][\w.-]{{0,63}})@)?({_HOST})(?::(\d{{1,5}}))?", _text(value), re.ASCII
    )
    if match is None:
        raise ValueError("must be [user@]host[:port], such as deploy@10.0.0.11")
    user, host, port = match.groups()
    if port and not 1 <= int(port) <= 65535:
        raise ValueError("the port must be between 1 and 65535")
    return SshTarget(host.strip("[]"), user or "", int(port or 0))


def parse_selector(value: Any) -> Selector:
    if isinstance(value, str):
        return Selector(host=str(value))
    if isinstance(value, dict) and value:
        return Selector(labels={key: parse_written(label) for key, label in value.items()})
    raise ValueError("must be a host's name, or labels such as {role: edge}")


def _name(value: Any) -> str:
    return _match(value, _NAME, "must be lower-case letters, digits and '-', starting with a letter"
                  ", at most 50 long")  # fmt: skip


def _env_name(value: Any) -> str:
    return _match(value, _ENV_NAME, "must be letters, digits and '_', not starting with a digit")


def _package_name(value: Any) -> str:
    return _match(value, _PACKAGE, "must be a Python package's name, such as shop_api")


def _nonce(value: Any) -> str:
    return _match(value, rf"any|{_SECRET}", "must be secret://name, or any (accept every nonce)")


def _url_path(value: Any) -> str:
    return _match(value, r"/[^\s?#]*", 'must start with "/"')


def _absolute(value: Any) -> str:
    return _match(value, r"/.+", 'must be an absolute path, starting with "/"')


def _image(value: Any) -> str:
    return _match(value, _IMAGE, "must be an image such as axllent/mailpit:v1.20")


def _some(value: Any) -> str:
    return _match(value, r"(?s).*\S.*", "must not be empty")


def _match(value: Any, pattern: str, words: str) -> str:
    text = _text(value)
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError(words)
    return text


def _texts(value: Any) -> Any:
    """One text stands for a list of one."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a text or a list of texts")
    return [value]


def _argv(value: Any) -> Any:
    """One text is a command line, split as a shell would split it; no shell ever runs it."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a command line, or a list of a program and its arguments")
    try:
        return shlex.split(value)
    except ValueError as error:
        raise ValueError(f"cannot be split into arguments: {error}") from None


def _settings(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be a mapping of the service's own settings")
    return plain(value)


def _without_extensions(value: Any) -> Any:
    """`x-...` keys are ignored where keys are names, as they are beside fixed keys."""
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if not key.startswith("x-")}


def _schema(**schema: Any) -> WithJsonSchema:
    return WithJsonSchema(schema)


_STRING = {"type": "string"}
_SCALAR = {"type": ["string", "number", "boolean"]}

Text = Annotated[str, BeforeValidator(_text), _schema(**_STRING)]
Some = Annotated[str, BeforeValidator(_some), _schema(type="string", minLength=1)]
Written = Annotated[str, BeforeValidator(parse_written), _schema(**_SCALAR)]
Name = Annotated[str, BeforeValidator(_name), _schema(type="string", pattern=f"^{_NAME}$")]
EnvName = Annotated[
    str, BeforeValidator(_env_name), _schema(type="string", pattern=f"^{_ENV_NAME}$")
]
PackageName = Annotated[
    str, BeforeValidator(_package_name), _schema(type="string", pattern=f"^{_PACKAGE}$")
]
Nonce = Annotated[str, BeforeValidator(_nonce), _schema(type="string")]
UrlPath = Annotated[str, BeforeValidator(_url_path), _schema(type="string", pattern="^/")]
AbsolutePath = Annotated[str, BeforeValidator(_absolute), _schema(type="string", pattern="^/.")]
Image = Annotated[str, BeforeValidator(_image), _schema(type="string")]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_texts),
    _schema(anyOf=[_STRING, {"type": "array", "items": _STRING}]),
]
Profiles = Annotated[
    tuple[Name, ...],
    BeforeValidator(_texts),
    _schema(anyOf=[_STRING, {"type": "array", "items": _STRING}]),
]
Argv = Annotated[
    tuple[Text, ...],
    BeforeValidator(_argv),
    _schema(anyOf=[_STRING, {"type": "array", "items": _STRING}]),
]
Settings = Annotated[dict[str, Any], BeforeValidator(_settings), _schema(type="object")]
Named = Annotated[dict[Name, T], BeforeValidator(_without_extensions)]
Flag = Annotated[bool, BeforeValidator(_flag), _schema(type="boolean")]
Rate = Annotated[
    int, BeforeValidator(_rate), _schema(type="integer", minimum=0, maximum=_MOST_RATE)
]
Count = Annotated[int, BeforeValidator(_count), _schema(type="integer", minimum=0, maximum=1000)]
Positive = Annotated[
    int, BeforeValidator(_positive), _schema(type="integer", minimum=1, maximum=1000)
]
Quorum = Annotated[int, BeforeValidator(_quorum), _schema(type="integer", enum=[1, 3, 5])]
Cpus = Annotated[float, BeforeValidator(_cpus), _schema(type="number", exclusiveMinimum=0)]
Duration = Annotated[float, BeforeValidator(_duration), _schema(**_DURATION_SCHEMA)]
Interval = Annotated[float, BeforeValidator(_interval), _schema(**_DURATION_SCHEMA)]
Size = Annotated[int, BeforeValidator(_size), _schema(type="string", pattern=SIZE_PATTERN)]
Backoff = Annotated[Range, BeforeValidator(_range), _schema(type="string", pattern=r"^.+\.\..+$")]
Listen = Annotated[
    Address, BeforeValidator(parse_address), _schema(anyOf=[_PORT_SCHEMA, {"type": "string"}])
]
On = Annotated[
    Selector,
    BeforeValidator(parse_selector),
    _schema(anyOf=[_STRING, {"type": "object", "additionalProperties": _SCALAR}]),
]
Ssh = Annotated[SshTarget, BeforeValidator(parse_ssh), _schema(**_STRING)]
