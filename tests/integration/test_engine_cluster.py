"""An engine of three nodes: it goes on without any one of them."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.trio import Trio, raised_trio
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("trio")) as trio:
        yield trio


def test_without_any_one_node_it_goes_on_and_nothing_acknowledged_is_lost(cluster: Trio) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    order = random.Random(seed).sample(["nats-1", "nats-2", "nats-3"], 3)
    for node in order:
        cluster.dctl("kv", "set", node, "before")
        os.kill(cluster.pids()[node], signal.SIGKILL)
        cluster.dctl("infra", "stop", node)
        # The others have to agree on a new leader first, if it was one: of the keys and of the log.
        wait_until(lambda node=node: cluster.does("kv", "set", node, "after"), within=60)
        produce = ("broker", "produce", "--type", "demo.lost", "--timeout", "60s")
        cluster.dctl(*produce, "--data", f'"{node}"')
        wait_until(lambda node=node: f"{node} of 3 nodes is away" in cluster.engine(), within=60)
        assert "all goes on, and no other may fail" in cluster.engine()
        cluster.dctl("infra", "start", node)
        cluster.dctl("infra", "wait", "--timeout", "60s")
        wait_until(lambda: cluster.does("cluster", "status"), within=60)
    assert "1 of 3 nodes may fail" in cluster.engine()
    for node in order:
        assert cluster.dctl("kv", "get", node).stdout == "after\n"
    events = cluster.dctl(
        "broker", "consume", "--type", "demo.lost", "--from", "all", "--count", "3", "-o", "ndjson"
    )
    assert all(f'"{node}"' in events.stdout.replace("\\", "") for node in order)
    cluster.dctl("infra", "plan", "--detailed-exitcode")


def test_a_backup_is_restored_on_all_nodes_and_whoever_reads_begins_anew(
    cluster: Trio, tmp_path: Path
) -> None:
    backup = str(tmp_path / "trio.tar.zst")
    for number in range(3):
        cluster.dctl("kv", "set", f"key-{number}", "before")
    cluster.dctl("backup", "create", backup)
    pids = cluster.pids()
    cluster.dctl("kv", "set", "key-1", "after")
    cluster.dctl("backup", "restore", backup, "-y")
    readers = ("blueprint-1", "blueprint-2", "catalyst-1")
    wait_until(lambda: all(cluster.pids().get(r, pids[r]) != pids[r] for r in readers), within=60)
    cluster.dctl("infra", "wait", "--timeout", "60s")
    assert cluster.dctl("kv", "get", "key-1").stdout == "before\n"
    wait_until(lambda: "1 of 3 nodes may fail" in cluster.engine(), within=60)
