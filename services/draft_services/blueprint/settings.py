"""What can be configured of Blueprint: the section ``blueprint`` of its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from ssl import SSLContext
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from draft_services.blueprint.access import Permissions
from draft_services.blueprint.limits import MIB, Limits
from draft_services.engine import accounts
from draft_services.engine.connection import Login

ANY = "any"


class Settings(BaseModel):
    """The section ``blueprint``; every key can be overridden as ``DRAFT_BLUEPRINT_<KEY>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nats: str = "nats://127.0.0.1:4222"
    """The engine; several servers are separated by commas."""
    engine: str = ""
    """``any``, or the file that holds the password of the engine's users ``draft`` and ``system``;
    empty for an engine that has no such users. Of several nodes, those are asked as ``system`` who
    leads, so that no read is stale."""
    epoch: int = 0
    """Counts up whenever the engine begins empty for its data to be restored there; until they are,
    nothing is served."""
    nonce: str = ANY
    """``any``, or the file that holds the cluster's secret."""
    silent: float = Field(default=15.0, gt=0)
    """Seconds of silence after which a process is disconnected and unhealthy."""
    gone: float = Field(default=60.0, gt=0)
    """Seconds of silence after which a process leaves the registry."""
    token_lifetime: float = Field(default=30 * 24 * 3600, gt=0)
    """Seconds that an issued token is good for; a process initializes anew after it."""
    max_keys: int = Field(default=1_000_000, gt=0)
    """The most keys that are held. A million of 200 bytes take half a GB of this process."""
    max_bytes: int = Field(default=512 * MIB, gt=0)
    """The most that keys and values take together; all of it is in this process's memory."""
    max_value: int = Field(default=MIB, gt=0, le=MIB)
    """The most bytes of one value."""
    max_store: int = Field(default=512 * MIB, gt=0)
    """The most that the engine keeps of keys and of what they were before. dctl sets it to three
    eighths of `core.nats.max_store`: half is for events, and the rest lets removals, expiries and
    processes go on when this is reached."""
    max_watchers: int = Field(default=10_000, gt=0)
    """The most open watches, of keys and of processes each."""

    scrub: float = Field(default=6 * 3600, ge=0)
    """Seconds between two readings of all that the engine keeps, every copy; 0: never."""
    objects: Mapping[str, int] = {}
    """The buckets that services keep large objects in, and the most bytes of each."""
    calls: Literal["any", "token"] = "any"
    """Whose calls are answered; `token`: of those who prove who they are (see `chassis.proof`)."""
    permissions: Mapping[str, Permissions] = {}
    """By service: prefixes of the keys that it may read and write, for `calls: token`."""
    rate: float = Field(default=0.0, ge=0)
    """Calls a second that one caller may make; 0: any number."""
    audit: bool = False
    """Tell the log `draft.audit` who wrote what, from where."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.gone <= self.silent:
            raise ValueError(
                f"gone ({self.gone:g} s) must be longer than silent ({self.silent:g} s)"
            )
        return self

    @field_validator("nonce", "engine")
    @classmethod
    def _readable(cls, value: str) -> str:
        if value not in ("", ANY):
            try:
                Path(value).read_bytes()
            except OSError as error:
                raise ValueError(
                    f'must be "any" or the file that holds the secret: {error.strerror}'
                ) from None
        return value

    def login(self, user: str, tls: SSLContext | None = None) -> Login | None:
        """As what `user` of the engine we come; None to one that asks nobody."""
        return accounts.login(self.engine, user, tls)

    @property
    def limits(self) -> Limits:
        """How much may be held."""
        return Limits(
            keys=self.max_keys,
            bytes=self.max_bytes,
            store=self.max_store,
            value=self.max_value,
            watchers=self.max_watchers,
        )

    def read_nonce(self) -> str | None:
        """The secret as of now, so that it can be changed in place; None accepts any."""
        if self.nonce == ANY:
            return None
        return Path(self.nonce).read_text(encoding="utf-8").strip()


class Configuration(BaseModel):
    """The top-level keys that are Blueprint's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blueprint: Settings = Settings()
