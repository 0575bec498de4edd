"""What goes wrong with containers in the middle of an apply: seen, told, and gone on from."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dctl.engine.apply import Event, Phase, Result, apply
from dctl.engine.plan import make_plan
from dctl.engine.sight import Sight
from dctl.hosts.base import Check, Resource, Rollout, State
from dctl.hosts.docker import DockerHost, DockerReader
from tests.support.clusters import Cluster
from tests.support.docker import Containers, containers, docker, image
from tests.support.engine_relay import EngineRelay, engine_relay

WELL = ("sh", "-c", "[ -e /tmp/well ] || { echo no sign of life; exit 7; }")
LIVES = "echo $COLOR; echo > /tmp/well; trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Containers]:
    with containers(tmp_path, monkeypatch) as made:
        yield made


def checked(asked: Resource, **rollout: float) -> Resource:
    """The same, well as long as its file is there."""
    check = Check("exec", asked.name, WELL, interval=0.1, timeout=10, retries=2, start=20)
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
            docker("exec", cluster.container("a-1"), "rm", "/tmp/well")

    assert carry_out(cluster, *service("blue")).ok
    result = carry_out(cluster, *service("red"), on_event=fall_ill)
    (failure,) = result.failures
    assert failure.step.name == "a-1"
    assert failure.reason.startswith("it was well, then unhealthy: ")
    assert failure.reason.endswith("ended with exit status 7: no sign of life")
    assert failure.tail == ("red",)
    assert {step.name for step in result.restored} == {"a-1", "a-2"}
    assert colors(cluster) == {"a-1": "blue", "a-2": "blue"}


def test_a_container_that_never_gets_well_tells_its_last_answer_and_its_last_twenty_lines(
    cluster: Containers,
) -> None:
    asked = checked(cluster.resource("a-1", "seq 30; trap 'exit 0' TERM; sleep 1000 & wait $!"))
    assert asked.check
    check = dataclasses.replace(asked.check, start=8)
    (failure,) = carry_out(cluster, dataclasses.replace(asked, check=check)).failures
    assert failure.reason.startswith("not healthy after ")
    assert failure.reason.endswith("ended with exit status 7: no sign of life")
    assert failure.tail == tuple(map(str, range(11, 31)))


@pytest.mark.parametrize("call", ["/containers/create", "/stop", "/rename", "/start", "/json"])
def test_an_engine_that_goes_away_is_told_and_the_next_apply_goes_on(
    cluster: Containers, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def service(color: str) -> list[Resource]:
        files = {"/etc/color": color}
        return [
            checked(cluster.resource(name, LIVES, env={"COLOR": color}, files=files))
            for name in ("a-1", "a-2")
        ]

    assert carry_out(cluster, *service("blue")).ok
    plan = make_plan(cluster.name, service("red"), Sight(cluster.reader.observe()))
    with engine_relay() as relay:
        monkeypatch.setenv("DOCKER_HOST", relay.address)
        host = DockerHost(cluster.name, workspace=cluster.workspace)
        host.observe()  # it is there at first
        relay.at = call.encode()
        result = apply(plan, {"local": host})
    monkeypatch.delenv("DOCKER_HOST")
    (failure,) = result.failures
    assert failure.step.name == "a-1"
    assert "the Docker engine on local" in failure.reason
    assert "went away" in failure.reason
    assert [step.name for step in result.not_done] == ["a-2"]
    assert carry_out(cluster, *service("red")).ok
    assert colors(cluster) == {"a-1": "red", "a-2": "red"}
    assert len(cluster.everything()) == 3  # with the network: nothing is left over


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineRelay]:
    with engine_relay() as relay, monkeypatch.context() as here:
        here.setenv("DOCKER_HOST", relay.address)
        yield relay


def there(cluster: Containers, asked: Resource) -> Result:
    """Applied by somebody who knows nothing yet of the engine."""
    host = DockerHost(cluster.name, workspace=cluster.workspace)
    return apply(make_plan(cluster.name, [asked], Sight([])), {"local": host})


@pytest.mark.parametrize("years", [1, -1])
def test_a_container_is_good_once_it_has_run_for_a_second_whatever_the_engines_clock_says(
    cluster: Containers, relay: EngineRelay, years: int
) -> None:
    relay.years = years
    assert there(cluster, cluster.resource()).ok
    seen = DockerReader(cluster.name, workspace=cluster.workspace).observe()
    assert 0 < time.time() - seen[0].started < 120


@pytest.mark.parametrize("years", [1, -1])
def test_one_that_ends_in_its_first_second_is_not_good_whatever_the_engines_clock_says(
    cluster: Containers, relay: EngineRelay, years: int
) -> None:
    relay.years = years
    assert there(cluster, cluster.resource("a-1", "sleep 0.2; exit 3", restart="never")).failures


SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
runtime: docker
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
services:
  one: {{image: "{image}", grace: 100ms}}
  two: {{image: "{image}", grace: 100ms, depends_on: {{one: healthy}}}}
"""


def test_an_engine_that_goes_away_ends_an_apply_that_the_next_one_finishes(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, name=f"e{abs(hash(str(tmp_path))):x}"[:12])
    (tmp_path / "cluster.yaml").write_text(SPEC.format(name=cluster.name, image=image()))
    try:
        with engine_relay() as relay:
            cluster.env["DOCKER_HOST"] = relay.address
            running = cluster.start("infra", "apply", "-y", "--progress", "json")
            assert running.stderr
            said = ""
            for line in running.stderr:
                said += line
                if '"container/one-1"' in line and '"done"' in line:
                    relay.cut()
            assert running.wait(timeout=60) == 4, said
            assert "the Docker engine on local" in said
            assert "went away" in said
            assert "not done: " in said or "two-1 on local: create failed" in said
            assert "Traceback" not in said
            assert [entry["result"] for entry in history(cluster)] == ["partly"]
            relay.listen()
            cluster.dctl("infra", "apply", "-y")
            assert [entry["result"] for entry in history(cluster)] == ["partly", "ok"]
            cluster.dctl("infra", "plan", "--detailed-exitcode")
    finally:
        del cluster.env["DOCKER_HOST"]
        cluster.close()


def history(cluster: Cluster) -> list[dict[str, Any]]:
    items = cluster.json("infra", "history")["items"]
    return sorted(items, key=lambda entry: entry["id"])
