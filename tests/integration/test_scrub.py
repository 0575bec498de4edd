"""Damage in what the engine keeps is found, and repaired from other copies or said."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from draft_services.engine import survey
from draft_services.engine.accounts import login
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError
from draft_services.engine.jetstream import JetStreamStore
from draft_services.engine.nodes import Nodes
from draft_services.engine.store import Key

from tests.support.apart import apart
from tests.support.clusters import Cluster
from tests.support.links import no_links
from tests.support.trio import Trio
from tests.support.waiting import until_answered, wait_until

OFTEN = "config: {scrub: 1}"


def flip_a_bit(data: Path) -> None:
    """In the middle of the largest file of the keys, of a node's `data`."""
    files = [*data.rglob("KV_keys/msgs/*.blk")]
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
    flip_a_bit(three.state / "data" / victim)  # the node has it in memory for some seconds more

    def repaired() -> str:
        told = three.dctl("cluster", "status", "-o", "json", code=None).stdout
        return victim if f"{victim}: 1 of its messages cannot be read" in told else ""

    wait_until(repaired, within=90)
    wait_until(lambda: "1 of 3 nodes may fail" in three.engine(), within=60)
    assert "made anew" in three.dctl("infra", "logs", "blueprint").stdout
    assert len(three.json("kv", "list", "k/")["items"]) == 300


@pytest.mark.timeout(180)
@pytest.mark.parametrize("damaged", [["nats-1"], ["nats-2", "nats-3"]])
async def test_what_is_damaged_goes_whoever_leads_meanwhile_and_what_is_whole_stays(
    tmp_path: Path, damaged: list[str]
) -> None:
    if why := no_links():
        pytest.skip(why)
    with apart(tmp_path) as cluster:
        known = login(str(cluster.secret))
        wire = Connection(f"nats://{cluster.address('nats-1')}", name="test", login=known)
        asks = login(str(cluster.secret), "system")
        system = Connection(f"nats://{cluster.address('nats-1')}", name="test", login=asks)
        await wire.open()
        await system.open()
        nodes = Nodes(wire, system)
        store = JetStreamStore(wire, "keys", nodes)
        await asyncio.gather(*(store.put(Key("t", f"k/{n}"), b"x" * 200) for n in range(300)))
        for node in damaged:
            cluster.restart(node, lambda node=node: flip_a_bit(cluster.data(node)))

        async def found() -> Mapping[str, list[int]]:
            with contextlib.suppress(EngineError):
                return await survey.damaged(wire, nodes, "KV_keys")
            return {}

        async def restless() -> None:
            """The leader changes all the time."""
            while True:
                with contextlib.suppress(EngineError):
                    await wire.api("STREAM.LEADER.STEPDOWN.KV_keys")
                await asyncio.sleep(1)

        assert sorted(await until_answered(found, within=60)) == damaged
        changing = asyncio.create_task(restless() if len(damaged) == 1 else asyncio.sleep(0))
        try:
            await survey.rebuild(wire, nodes, "KV_keys", damaged)
        finally:
            changing.cancel()
        async with asyncio.timeout(60):
            assert await survey.damaged(wire, nodes, "KV_keys") == {}
        entries = await store.entries()
        assert sum(entry.key.name.startswith("k/") for entry in entries) == 300
        await system.close()
        await wire.close()


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
        flip_a_bit(one.state / "data" / "nats-1")
        os.kill(pid, signal.SIGKILL)
    else:
        one.dctl("infra", "stop", "nats-1")
        flip_a_bit(one.state / "data" / "nats-1")
        one.dctl("infra", "start", "nats-1")
    wait_until(lambda: "is damaged" in one.dctl("kv", "get", "k/1", code=None).stderr, within=60)
    assert (
        "Damaged, and there is no other copy: KV_keys"
        in one.dctl("cluster", "status", code=1).stdout
    )
    if crash:  # the engine has cut the file off where it could be read no further
        # Blueprint may just begin anew: then nothing was accepted yet.
        wait_until(
            lambda: "KV_keys" in one.dctl("backup", "accept-loss", "-y", code=None).stderr,
            within=60,
        )
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
