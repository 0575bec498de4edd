"""`python -m draft_services.fuse`: Fuse as a service of the chassis."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from chassis import Chassis
from draft_services.fuse.service import Fuse
from draft_services.fuse.settings import Settings

PORT = 18000


class Config(BaseModel):
    """What the configuration holds beside the chassis's own keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fuse: Settings = Settings()


def main() -> None:
    """Compose and run."""
    app = Chassis("fuse", settings=Config, port=PORT)
    fuse = Fuse(
        app.settings.fuse,
        blueprint=app.blueprint,
        url=lambda: app.address.url,
        tls=app.config.tls is not None,
    )
    app.add_servicer(fuse.servicer)
    app.add_handler(fuse.xds)
    app.guard()
    app.runner(fuse.run)
    app.health_check(fuse.can_serve)
    app.figures(fuse.figures)
    app.run()


if __name__ == "__main__":
    main()
