"""Ports that somebody else holds are named before anything starts."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dctl.engine.plan import make_plan
from dctl.engine.preflight import preflight
from dctl.engine.sight import Sight
from dctl.hosts.base import Endpoint, Kind, Observed, PortOwner, Resource, State
from dctl.hosts.fake import FakeHost

PORT = Endpoint("127.0.0.1", 4222)
ASKED = Resource(Kind.PROCESS, "nats-1", "local", "nats", {"argv": ["n"]}, ports={"client": PORT})


class Held(FakeHost):
    """The port is held by process 7; `things` are there."""

    def __init__(self, *things: Observed) -> None:
        super().__init__("shop")
        self.things = things

    def observe(self) -> Sequence[Observed]:
        return self.things

    def port_owner(self, endpoint: Endpoint) -> PortOwner | None:
        return PortOwner(7, "nats-server") if endpoint == PORT else None


def seen(state: State, pid: int) -> Observed:
    return Observed(
        Kind.PROCESS, "nats-1", "local", state, "shop", "nats", {"argv": ["n"]}, pid=pid
    )


@pytest.mark.parametrize("things", [(), (seen(State.STOPPED, 0),), (seen(State.STOPPED, 8),)])
def test_a_port_that_a_stranger_holds_is_named_with_the_stranger(
    things: tuple[Observed, ...],
) -> None:
    plan = make_plan("shop", [ASKED], Sight(things))
    (problem,) = preflight(plan, {"local": Held(*things)})
    assert "needs port 4222 (client), which is held by nats-server (pid 7)" in problem


def test_a_port_that_ours_is_about_to_give_up_is_no_strangers() -> None:
    ending = seen(State.STOPPED, 7)
    plan = make_plan("shop", [ASKED], Sight([ending]))
    assert preflight(plan, {"local": Held(ending)}) == []
