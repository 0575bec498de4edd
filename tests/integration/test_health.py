"""Health means "can serve": who cannot do its work says so, says why, and says when it is over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from chassis.clients import connect
from chassis.health import ask_health
from tests.support.clusters import Cluster, raised
from tests.support.envoy import free_port
from tests.support.fuse import fuse_process
from tests.support.nats import Nats, running_nats
from tests.support.services import Service, running_blueprint, running_service
from tests.support.waiting import until_answered, wait_until


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@pytest.fixture
def core(nats: Nats, tmp_path: Path) -> Iterator[list[Service]]:
    with (
        running_blueprint(tmp_path, nats.url) as blueprint,
        running_service(
            "catalyst",
            tmp_path,
            DRAFT_SERVICE_ENTRYPOINT=blueprint.address,
            DRAFT_CATALYST_NATS=nats.url,
        ) as catalyst,
        fuse_process(tmp_path, blueprint.address, free_port()) as fuse,
    ):
        yield [blueprint, catalyst, fuse]


async def why(service: Service) -> str:
    """Why it does not serve, "" when it does."""
    async with connect(service.address) as channel:
        try:
            return await ask_health(channel, within=2)
        except grpc.aio.AioRpcError as error:
            return f"it does not answer: {error.details()}"


async def test_without_the_engine_the_core_does_not_serve_and_with_it_serves_again(
    nats: Nats, core: list[Service]
) -> None:
    pids = [service.pid for service in core]

    async def all_serve() -> bool:
        return not any([await why(service) for service in core])

    async def none_serves() -> bool:
        return all([await why(service) for service in core])

    for lose in (nats.kill, nats.stop):
        lose()
        await until_answered(none_serves, within=30)
        for service in core:
            assert f"the engine at {nats.url} cannot be reached" in await why(service)
        assert "what is served stays as it is" in await why(core[2])
        nats.start()
        await until_answered(all_serve, within=30)
    assert [service.pid for service in core] == pids


async def test_an_engine_that_stands_still_is_one_that_is_away(
    nats: Nats, core: list[Service]
) -> None:
    async def serve(services: list[Service]) -> bool:
        return not any([await why(service) for service in services])

    async def none_serves() -> bool:
        return all([await why(service) for service in core])

    nats.signal(signal.SIGSTOP)
    await until_answered(none_serves, within=30)
    nats.signal(signal.SIGCONT)
    await until_answered(lambda: serve(core), within=30)


async def test_fuse_says_that_blueprint_is_away(core: list[Service]) -> None:
    blueprint, _, fuse = core

    async def told() -> str:
        return await why(fuse)

    blueprint.kill()
    said = await until_answered(told, within=30)
    assert "Blueprint does not answer" in said

    async def serves() -> bool:
        return not await why(fuse)

    blueprint.start()
    await until_answered(serves, within=30)


def test_a_cluster_without_its_engine_is_left_alone_and_status_says_why(tmp_path: Path) -> None:
    """Nothing restarts what is only not serving: not the supervisor, not a plan."""
    with raised(tmp_path) as cluster:
        pids = cluster.pids()
        cluster.dctl("infra", "stop", "nats")

        def ill() -> bool:
            rows = cluster.status()
            return {rows[name]["health"] for name in pids if name[:4] in ("blue", "cata")} == {
                "unhealthy"
            }

        wait_until(ill, within=60)
        row = cluster.status()["blueprint-1"]
        assert "answers NOT_SERVING: " in row["reason"]
        assert "cannot be reached" in row["reason"]
        _restarted_nothing(cluster, pids)
        cluster.dctl("infra", "start", "nats")
        cluster.dctl("infra", "wait")
        _restarted_nothing(cluster, pids)
        assert "No changes" in cluster.dctl("infra", "plan").stdout


def _restarted_nothing(cluster: Cluster, pids: dict[str, int]) -> None:
    rows = cluster.status()
    for name in ("blueprint-1", "catalyst-1", "fuse-1", "envoy-1", "echo-1"):
        assert rows[name]["pid"] == pids[name], rows[name]
        assert rows[name]["restarts"] == 0, rows[name]
