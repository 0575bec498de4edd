"""Damage in what the engine keeps is found, and repaired from other copies or said."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import Cluster
from tests.support.trio import Trio
from tests.support.waiting import wait_until

OFTEN = "config: {scrub: 1}"


def flip_a_bit(cluster: Cluster, node: str) -> None:
    """In the middle of the largest file of the keys."""
    files = [*(cluster.state / "data" / node).rglob("KV_keys/msgs/*.blk")]
    file = max(files, key=lambda each: each.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def fill(cluster: Cluster, folder: Path) -> None:
    lines = [f'{{"key": "k/{n}", "type": "value", "value": "{"x" * 200}"}}' for n in range(300)]
    (folder / "keys.ndjson").write_text("\n".join(lines) + "\n")
    cluster.dctl("kv", "import", str(folder / "keys.ndjson"))


class Three(Trio):
    def write(self, nodes: int = 3, **_: object) -> None:
        super().write(nodes)
        spec = self.folder / "cluster.yaml"
        spec.write_text(spec.read_text().replace("replicas: 2}", f"replicas: 2, {OFTEN}}}"))


class One(Cluster):
    def write(self, **_: object) -> None:
        super().write()
        spec = self.folder / "cluster.yaml"
        spec.write_text(
            spec.read_text().replace("blueprint: {listen: 0}", f"blueprint: {{listen: 0, {OFTEN}}}")
        )


@pytest.fixture
def one(tmp_path: Path) -> Iterator[One]:
    made = One(tmp_path / "one")
    try:
        made.dctl("infra", "apply", "-y")
        yield made
    finally:
        made.close()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    made = Three(tmp_path / "three")
    try:
        made.dctl("infra", "apply", "-y")
        yield made
    finally:
        made.close()


def test_a_damaged_copy_is_made_anew_from_the_others_and_told(three: Three, tmp_path: Path) -> None:
    fill(three, tmp_path)
    streams = three.json("cluster", "status")["streams"]
    leader = next(each["leader"] for each in streams if each["stream"] == "KV_keys")
    victim = next(node for node in ("nats-1", "nats-2", "nats-3") if node != leader)
    flip_a_bit(three, victim)  # the node has it in memory for some seconds more

    def repaired() -> str:
        told = three.dctl("cluster", "status", "-o", "json", code=None).stdout
        return victim if f"{victim}: 1 of its messages cannot be read" in told else ""

    wait_until(repaired, within=90)
    wait_until(lambda: "1 of 3 nodes may fail" in three.engine(), within=60)
    assert "made anew" in three.dctl("infra", "logs", "blueprint").stdout
    assert len(three.json("kv", "list", "k/")["items"]) == 300


@pytest.mark.parametrize("crash", [False, True])
def test_damage_of_the_only_copy_is_said_and_nothing_of_it_is_served(
    one: One, tmp_path: Path, crash: bool
) -> None:
    fill(one, tmp_path)
    backup = str(tmp_path / "whole.tar.zst")
    one.dctl("backup", "create", backup)
    pid = one.pids()["nats-1"]
    if crash:
        os.kill(pid, signal.SIGSTOP)
        flip_a_bit(one, "nats-1")
        os.kill(pid, signal.SIGKILL)
    else:
        one.dctl("infra", "stop", "nats-1")
        flip_a_bit(one, "nats-1")
        one.dctl("infra", "start", "nats-1")
    wait_until(lambda: "is damaged" in one.dctl("kv", "get", "k/1", code=None).stderr, within=60)
    assert (
        "Damaged, and there is no other copy: KV_keys"
        in one.dctl("cluster", "status", code=1).stdout
    )
    if crash:  # the engine has cut the file off where it could be read no further
        assert "KV_keys" in one.dctl("backup", "accept-loss", "-y").stderr
        wait_until(lambda: one.dctl("kv", "get", "k/1", code=None).returncode == 0, within=60)
        assert 0 < len(one.json("kv", "list", "k/")["items"]) < 300
    else:  # the engine still stumbles over it
        one.dctl("infra", "restart", "nats-1")
        one.dctl("infra", "restart", "blueprint-1", code=None)
        wait_until(
            lambda: "is damaged" in one.dctl("kv", "get", "k/1", code=None).stderr, within=60
        )
        assert "Restore a backup" in one.dctl("backup", "accept-loss", "-y", code=1).stderr
        one.dctl("backup", "restore", backup, "-y")
        wait_until(lambda: one.dctl("kv", "get", "k/1", code=None).returncode == 0, within=60)
        assert len(one.json("kv", "list", "k/")["items"]) == 300
    one.dctl("infra", "wait", "--timeout", "60s")
    one.dctl("cluster", "status")
