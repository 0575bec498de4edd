"""What can be configured of Blueprint: the section ``blueprint`` of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

ANY = "any"


class Settings(BaseModel):
    """The section ``blueprint``; every key can be overridden as ``DRAFT_BLUEPRINT_<KEY>``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nats: str = "nats://127.0.0.1:4222"
    """The engine; several servers are separated by commas."""
    nonce: str = ANY
    """``any``, or the file that holds the cluster's secret."""
    silent: float = Field(default=15.0, gt=0)
    """Seconds of silence after which a process is disconnected and unhealthy."""
    gone: float = Field(default=60.0, gt=0)
    """Seconds of silence after which a process leaves the registry."""
    token_lifetime: float = Field(default=30 * 24 * 3600, gt=0)
    """Seconds that an issued token is good for; a process initializes anew after it."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.gone <= self.silent:
            raise ValueError(
                f"gone ({self.gone:g} s) must be longer than silent ({self.silent:g} s)"
            )
        return self

    @field_validator("nonce")
    @classmethod
    def _readable(cls, nonce: str) -> str:
        if nonce != ANY:
            try:
                Path(nonce).read_bytes()
            except OSError as error:
                raise ValueError(
                    f'must be "any" or the file that holds the secret: {error.strerror}'
                ) from None
        return nonce

    def read_nonce(self) -> str | None:
        """The secret as of now, so that it can be changed in place; None accepts any."""
        if self.nonce == ANY:
            return None
        return Path(self.nonce).read_text(encoding="utf-8").strip()


class Configuration(BaseModel):
    """The top-level keys that are Blueprint's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    blueprint: Settings = Settings()
