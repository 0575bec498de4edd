"""What goes wrong with containers in the middle of an apply: seen, told, and gone on from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dctl.engine.apply import Event, Phase, Result, apply
from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.hosts.base import Check, Resource, Rollout, State
from tests.support.docker import Containers, containers, docker

WELL = ("sh", "-c", "[ -e /tmp/well ] || { echo no sign of life; exit 7; }")
LIVES = "echo $COLOR; echo > /tmp/well; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Containers]:
    with containers(tmp_path, monkeypatch) as made:
        yield made


def checked(asked: Resource, **rollout: float) -> Resource:
    """The same, well as long as its file is there."""
    check = Check("exec", asked.name, WELL, interval=0.1, retries=2, start=20)
    return dataclasses.replace(
        asked,
        check=check,
        rollout=Rollout(auto_rollback=True, **rollout),  # type: ignore[arg-type]
    )


def carry_out(
    cluster: Containers, *asked: Resource, on_event: Callable[[Event], None] = lambda _: None
) -> Result:
    plan = make_plan(cluster.name, asked, Sight(cluster.reader.observe()))
    return apply(plan, {"local": cluster.host}, on_event=on_event)


def colors(cluster: Containers) -> dict[str, str]:
    return {
        seen.name: (seen.spec or {})["env"]["COLOR"]
        for seen in cluster.reader.observe()
        if seen.state is State.RUNNING
    }


def test_a_container_that_falls_ill_while_it_is_watched_takes_all_of_its_service_back(
    cluster: Containers,
) -> None:
    def service(color: str) -> list[Resource]:
        replicas = (cluster.resource(name, LIVES, env={"COLOR": color}) for name in ("a-1", "a-2"))
        return [checked(replica, monitor=60) for replica in replicas]

    def fall_ill(event: Event) -> None:
        if event.step.name == "a-2" and event.phase is Phase.WATCHING:
            docker("exec", cluster.container("a-1"), "busybox", "rm", "/tmp/well")

    assert carry_out(cluster, *service("blue")).ok
    result = carry_out(cluster, *service("red"), on_event=fall_ill)
    (failure,) = result.failures
    assert failure.step.name == "a-1"
    assert failure.reason.startswith("it was well, then unhealthy: ")
    assert failure.reason.endswith("ended with exit status 7: no sign of life")
    assert failure.tail == ("red",)
    assert {step.name for step in result.restored} == {"a-1", "a-2"}
    assert colors(cluster) == {"a-1": "blue", "a-2": "blue"}
