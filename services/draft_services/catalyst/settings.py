"""Catalyst's own section of its configuration, `catalyst:`."""

from pydantic import BaseModel, ConfigDict, Field

_DAY = 86_400


class CatalystSettings(BaseModel):
    """Where the engine is, and how much of the log it keeps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nats: str = Field("nats://127.0.0.1:4222", description="the engine; several, with commas")
    max_store: int = Field(
        1024**3,  # half of what the engine has by default, so that events never crowd out keys
        ge=0,
        description="bytes that events may take; a full log refuses new ones; 0: no limit",
    )
    max_age: float = Field(
        7 * _DAY, ge=0, description="seconds after which an event is forgotten; 0: never"
    )
    dedup_window: float = Field(
        120, ge=1, description="seconds within which a repeated (source, id) is recognised"
    )


class Settings(BaseModel):
    """The top-level keys that belong to Catalyst."""

    catalyst: CatalystSettings = CatalystSettings()
