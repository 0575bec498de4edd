"""Which nodes count: those that come and go by the cluster spec, and one that is lost for good."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from draft_services.engine.accounts import SYSTEM, login
from draft_services.engine.cluster import Cluster
from draft_services.engine.connection import connect
from draft_services.engine.members import Members

from tests.support.trio import Trio, raised_trio
from tests.support.waiting import wait_until
from tests.support.writers import gap, writing


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("members")) as trio:
        yield trio


async def members(cluster: Trio) -> set[str]:
    """Those that the engine itself counts."""
    url = f"nats://{cluster.address('nats-1')}"
    system = await connect(
        url, name="test", login=login(str(cluster.state / "secrets/engine"), SYSTEM)
    )
    try:
        return set(await Members(Cluster(system), system).all())
    finally:
        await system.close()


def killed_once_gone(cluster: Trio, node: str) -> None:
    """An apply that is killed when the node has ended, and counts still, or does so no more."""
    apply = cluster.start("infra", "apply", "-y")
    try:
        wait_until(lambda: node not in cluster.status(), within=60)
    finally:
        apply.kill()
        apply.communicate()
    shown = cluster.dctl("infra", "plan", "--detailed-exitcode", code=2).stdout.splitlines()
    assert any(node in line and "ended and may still count" in line for line in shown)


@pytest.mark.timeout(240)
async def test_nodes_beyond_three_come_and_go_with_a_copy_of_everything_on_each(
    cluster: Trio,
) -> None:
    addresses = [cluster.address("blueprint-1"), cluster.address("blueprint-2")]
    with writing(addresses) as writers:
        for count in (5, 3):
            cluster.write(nodes=count)
            if count == 3:
                killed_once_gone(cluster, "nats-5")
            cluster.dctl("infra", "apply", "-y", timeout=120)
            assert await members(cluster) == {f"nats-{n}" for n in range(1, count + 1)}
            status = cluster.json("cluster", "status")
            assert {(s["copies"], s["nodes"]) for s in status["streams"]} == {(count, count)}
            cluster.dctl("infra", "plan", "--detailed-exitcode")
    print(f"longest time without any write: {gap(writers):.2f} s")
    assert gap(writers) < 2  # 0.2 on a machine that is busy; without more than half 4 to 10
    assert [writer.failures for writer in writers] == [[], []]
    assert [writer.lost(addresses[0]) for writer in writers] == [[], []]


@pytest.mark.timeout(120)
async def test_a_node_is_removed_once_it_is_away_and_counts_no_more(cluster: Trio) -> None:
    refused = cluster.dctl("cluster", "remove", "nats-3", "--timeout", "1s", code=1)
    assert "'nats-3' is alive" in refused.stderr
    cluster.dctl("infra", "stop", "nats-3")
    cluster.dctl("cluster", "remove", "nats-3", "--timeout", "30s")
    assert await members(cluster) == {"nats-1", "nats-2"}
    cluster.dctl("cluster", "remove", "nats-3")  # again: it is so already
    assert cluster.does("kv", "set", "after", "the removal")
    wait_until(lambda: "2 of 3 copies are there" in cluster.engine(), within=30)
    assert "no other node may fail" in cluster.engine()
