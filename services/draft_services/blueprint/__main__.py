"""`python -m draft_services.blueprint`: Blueprint as a service of its own chassis."""

from __future__ import annotations

from chassis import Chassis
from draft_services.blueprint.service import SERVICE, Blueprint
from draft_services.blueprint.settings import Configuration

PORT = 2221


def main() -> None:
    """Serve until told to stop."""
    app = Chassis(SERVICE, settings=Configuration, port=PORT)
    tls = app.config.tls
    blueprint = Blueprint(
        app.settings.blueprint, address=str(app.address), tls=tls.context() if tls else None
    )
    for servicer in blueprint.servicers:
        app.add_servicer(servicer)
    app.on_start(blueprint.open)
    app.runner(blueprint.watch)
    app.health_check(blueprint.can_serve)
    app.figures(blueprint.figures)
    app.on_stop(blueprint.close)
    app.run()


if __name__ == "__main__":
    main()
