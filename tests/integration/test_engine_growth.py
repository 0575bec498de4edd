"""An engine of one node becomes one of three, and one again: whatever was acknowledged is there."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.trio import Trio, raised_trio
from tests.support.waiting import wait_until
from tests.support.writers import Writer, writing

# What dctl says as it goes on.
TAKING, EXCHANGING, RESTORING = "a backup of the engine's data", "are exchanged", "are restored"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("growth"), nodes=1) as trio:
        yield trio


def nodes(cluster: Trio) -> int:
    return sum(name.startswith("nats-") for name in cluster.pids())


@contextmanager
def written(cluster: Trio) -> Iterator[list[Writer]]:
    """Two write all the time; whatever was acknowledged to them is there afterwards."""
    addresses = [cluster.address("blueprint-1"), cluster.address("blueprint-2")]
    with writing(addresses) as writers:
        wait_until(lambda: all(len(writer.acknowledged) > 20 for writer in writers))
        yield writers
        before = [len(writer.acknowledged) for writer in writers]
        wait_until(
            lambda: all(len(w.acknowledged) > n for w, n in zip(writers, before, strict=True)),
            within=60,
        )
    print(f"longest time without a write: {max(writer.gap for writer in writers):.1f} s")
    assert [writer.failures for writer in writers] == [[], []]
    assert [writer.lost(addresses[0]) for writer in writers] == [[], []]


def as_it_has_to_be(cluster: Trio, count: int) -> None:
    assert nodes(cluster) == count
    cluster.dctl("infra", "plan", "--detailed-exitcode")
    status = cluster.json("cluster", "status")
    assert {stream["copies"] for stream in status["streams"]} == {count}
    assert not list(cluster.state.glob("*.tar.zst"))


@pytest.mark.timeout(300)
def test_it_grows_and_shrinks_with_all_keys_and_events(cluster: Trio) -> None:
    cluster.dctl("broker", "produce", "--type", "demo.kept", "--data", '"event"')
    for count in (3, 1):
        before = nodes(cluster)
        cluster.write(nodes=count)
        plan = cluster.dctl("infra", "plan").stdout
        assert f"the engine goes from {before} to {count} node" in plan
        assert "a backup of its data is taken and restored there; writes wait meanwhile" in plan
        assert cluster.json("infra", "plan")["move"] == {
            "from": before,
            "to": count,
            "how": "backup and restore",
            "begun": False,
            "writes": "wait",
        }
        with written(cluster):
            cluster.dctl("infra", "apply", "-y", timeout=120)
        as_it_has_to_be(cluster, count)
    events = cluster.dctl(
        "broker", "consume", "--type", "demo.kept", "--from", "all", "--count", "1"
    )
    assert "event" in events.stdout


@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", [TAKING, EXCHANGING, RESTORING])
def test_whatever_it_was_at_when_dctl_was_killed_the_next_apply_goes_on(
    cluster: Trio, when: str
) -> None:
    count = 4 - nodes(cluster)
    cluster.write(nodes=count)
    with written(cluster):
        killed_at(cluster, when)
        for backup in cluster.state.glob("*.tar.zst"):
            assert stat.S_IMODE(backup.stat().st_mode) == 0o600
        cluster.dctl("infra", "apply", "-y", timeout=180)
    as_it_has_to_be(cluster, count)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", [EXCHANGING, RESTORING])
def test_one_that_was_killed_may_be_taken_back(cluster: Trio, when: str) -> None:
    count = nodes(cluster)
    cluster.write(nodes=4 - count)
    with written(cluster):
        killed_at(cluster, when)
        cluster.write(nodes=count)
        cluster.dctl("infra", "apply", "-y", timeout=180)
    as_it_has_to_be(cluster, count)


def test_a_part_of_the_cluster_alone_does_not_change_the_number_of_nodes(cluster: Trio) -> None:
    count = nodes(cluster)
    cluster.dctl("kv", "set", "kept", "yes")
    cluster.write(nodes=4 - count)
    try:
        refused = cluster.dctl("infra", "apply", "-y", "--service", "nats", code=1)
    finally:
        cluster.write(nodes=count)
    assert "moved by an apply of the whole cluster alone, so nothing was changed" in refused.stderr
    assert cluster.dctl("kv", "get", "kept").stdout == "yes\n"


def killed_at(cluster: Trio, when: str) -> None:
    """An apply that is killed as it says that."""
    running = cluster.start("infra", "apply", "-y", "--progress", "plain")
    assert running.stderr is not None
    said = ""
    for line in running.stderr:
        said += line
        if when in line and not line.startswith("⇄"):
            break
    running.kill()
    running.communicate()
    assert when in said, said
