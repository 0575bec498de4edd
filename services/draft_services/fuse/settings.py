"""What can be configured of Fuse: the section `fuse` of its configuration."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, field_validator

from draft_services.fuse.routes import Endpoint, parse_address


class Settings(BaseModel):
    """The section `fuse`; every key can be overridden as `DRAFT_FUSE_<KEY>`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: str = "127.0.0.1:10000"
    """Where the proxies take requests: an IP address and a port."""
    cors_origins: tuple[str, ...] = ()
    """The web origins whose pages may call gRPC services; `*` for all of them. None by default:
    any page that a developer opens could otherwise read what listens on loopback."""

    @field_validator("listen")
    @classmethod
    def _is_address(cls, listen: str) -> str:
        if not parse_address(listen).is_address:
            raise ValueError(f"{listen!r} is not an IP address and a port")
        return listen

    @property
    def ingress(self) -> Endpoint:
        """`listen`, taken apart."""
        return parse_address(self.listen)
