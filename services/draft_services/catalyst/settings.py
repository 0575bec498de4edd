"""What can be configured of Catalyst: the section `catalyst` of its configuration."""

from pydantic import BaseModel, ConfigDict, Field

_DAY = 86_400


class Settings(BaseModel):
    """The section `catalyst`; every key can be overridden as `DRAFT_CATALYST_<KEY>`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nats: str = "nats://127.0.0.1:4222"
    """The engine; several servers are separated by commas."""
    engine: str = ""
    """``any``, or the file that holds the password of the engine's user ``draft``; empty for an
    engine that has no such user."""
    epoch: int = 0
    """Counts up whenever the engine begins empty for its data to be restored there; until they are,
    nothing is served."""
    max_store: int = Field(default=512 * 1024**2, ge=0)
    """Bytes that events may take; a full log refuses new ones. 0: no limit but the engine's. The
    default leaves room in a small engine, for events must never crowd out the keys."""
    max_age: float = Field(default=7 * _DAY, ge=0)
    """Seconds after which an event is forgotten; 0: never."""
    dedup_window: float = Field(default=120.0, ge=1)
    """Seconds within which a repeated (source, id) is recognised."""
