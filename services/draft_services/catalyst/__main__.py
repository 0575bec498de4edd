"""`python -m draft_services.catalyst`: the event broker as a service of its own chassis."""

from pydantic import BaseModel, ConfigDict

from chassis import Chassis
from draft_services.catalyst.service import Catalyst
from draft_services.catalyst.settings import Settings

PORT = 2220


class Configuration(BaseModel):
    """The top-level keys that are not the chassis's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    catalyst: Settings = Settings()


def main() -> None:
    app = Chassis("catalyst", settings=Configuration, port=PORT)
    tls = app.config.tls
    catalyst = Catalyst(app.settings.catalyst, tls=tls.context() if tls else None)
    for servicer in catalyst.servicers:
        app.add_servicer(servicer)
    app.on_start(catalyst.open)
    app.guard()
    app.runner(catalyst.watch)
    app.health_check(catalyst.can_serve)
    app.figures(catalyst.figures)
    app.on_stop(catalyst.close)
    app.run()


if __name__ == "__main__":
    main()
