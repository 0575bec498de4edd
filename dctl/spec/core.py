"""The core parts. Each is there by default; `false` leaves it out."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag

from dctl.spec.types import LOOPBACK, Address, Duration, Flag, Listen, Positive, Quorum, Size, Some
from dctl.spec.workload import Part, Workload

GIB = 1 << 30


class CorePart(Workload):
    """What core parts have in common. `config` goes into the part's own section."""

    replicas: Positive = 1


class Nats(CorePart):
    """The engine under Blueprint and Catalyst. One node, or three for production."""

    replicas: Quorum = 1
    listen: Listen = Address(LOOPBACK, 4222)
    cluster: Listen = Address(LOOPBACK, 6222)
    monitor: Listen = Address(LOOPBACK, 8222)
    max_store: Size = Field(2 * GIB, description="the most that it may keep on disk")
    max_memory: Size = Field(GIB // 4, description="the most that memory streams may use")


class Blueprint(CorePart):
    """The registry and the key/value store."""

    listen: Listen = Address(LOOPBACK, 2221)


class Topic(Part):
    """What is kept of the events whose type matches."""

    keep: Duration | None = None
    max_size: Size | None = None


class Catalyst(CorePart):
    """Events and actors."""

    listen: Listen = Address(LOOPBACK, 2220)
    topics: dict[Some, Topic] = Field({})


class Fuse(CorePart):
    """The control plane of Envoy."""

    listen: Listen = Address(LOOPBACK, 18000)


class Envoy(CorePart):
    """The ingress."""

    listen: Listen = Address(LOOPBACK, 10000)
    admin: Listen = Address(LOOPBACK, 19000)
    expose_core: Flag = Field(False, description="routes to the core services at the ingress")
    max_memory: Size | None = Field(None, description="Envoy sheds load above it")


def _present(value: Any) -> Any:
    """An empty value, or true, asks for the part with its defaults."""
    if value is None or value is True:
        return {}
    if value is False or isinstance(value, dict):
        return value
    raise ValueError("must be a mapping, or false to leave the part out")


def _kind(value: Any) -> str:
    return "left out" if value is False else "part"


P = TypeVar("P", bound=CorePart)
# Chosen by a function, so that a mistake is reported once and not per member of the union.
OrFalse = Annotated[
    Annotated[P, Tag("part")] | Annotated[Literal[False], Tag("left out")],
    Discriminator(_kind),
    BeforeValidator(_present),
]


class Core(Part):
    """The five core parts; a part is its settings, or False when it is left out."""

    nats: OrFalse[Nats] = Nats()
    blueprint: OrFalse[Blueprint] = Blueprint()
    catalyst: OrFalse[Catalyst] = Catalyst()
    fuse: OrFalse[Fuse] = Fuse()
    envoy: OrFalse[Envoy] = Envoy()
