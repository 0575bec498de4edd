"""dctl backup on a cluster that dctl raised: everything goes back, and everything serves again."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.support.clusters import Cluster, raised
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)


def keys(cluster: Cluster) -> dict[str, tuple[str, int]]:
    found = {}
    for item in cluster.json("kv", "list", "user/")["items"]:
        got = cluster.json("kv", "get", item["key"])
        found[item["key"]] = (got["value"], got["revision"])
    return found


def events(cluster: Cluster) -> list[tuple[int, str]]:
    printed = cluster.dctl(
        *("broker", "consume", "--from", "all", "--timeout", "2s", "-o", "ndjson"), code=None
    ).stdout
    told = [json.loads(line) for line in printed.splitlines()]
    return [(int(each["draftsequence"]), each["data"]) for each in told]


def speaks(cluster: Cluster) -> bool:
    """Whether the echo answers at the ingress, as JSON."""
    request = urllib.request.Request(
        f"http://{cluster.address('envoy-1')}/examples.echo.v1.EchoService/Speak",
        data=b'{"input": "hello"}',
        headers={"content-type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return "hello" in answer.read().decode()
    except OSError:
        return False


def test_a_cluster_goes_back_to_its_backup_and_serves_on(tmp_path: Path) -> None:
    backup = tmp_path / "test.tar.zst"
    with raised(tmp_path / "cluster") as cluster:
        cluster.dctl("kv", "set", "user/ann", "1")
        cluster.dctl("kv", "set", "user/bob", "1")
        cluster.dctl("broker", "produce", "--type", "t", "--data", "first")
        before, told = keys(cluster), events(cluster)
        assert [data for _, data in told] == ["first"]
        cluster.dctl("backup", "create", str(backup))
        assert backup.stat().st_mode & 0o777 == 0o600
        assert {*tmp_path.iterdir()} == {backup, tmp_path / "cluster"}
        cluster.dctl("kv", "set", "user/ann", "2")
        cluster.dctl("kv", "set", "user/eve", "1")
        cluster.dctl("kv", "delete", "user/bob")
        cluster.dctl("broker", "produce", "--type", "t", "--data", "second")

        # Nothing is touched by a file that is not whole, nor by one of another cluster.
        text, now = backup.read_bytes(), keys(cluster)
        damaged = tmp_path / "damaged.tar.zst"
        flipped = bytearray(text)
        flipped[len(text) // 2] ^= 4
        for wrong in (text[:-1], bytes(flipped)):
            damaged.write_bytes(wrong)
            refused = cluster.dctl("backup", "restore", str(damaged), "-y", code=1)
            assert "damaged" in refused.stderr
        refused = cluster.dctl("backup", "restore", str(backup), code=64)  # nobody to ask
        assert "-y" in refused.stderr
        assert keys(cluster) == now

        done = cluster.dctl("backup", "restore", str(backup), "-y")
        assert "keys:" in done.stderr
        assert "events: 2 up to" in done.stderr
        assert keys(cluster) == before
        wait_until(lambda: events(cluster) == told, within=30)
        # The processes of now are there, each under its name, and their routes serve.
        wait_until(lambda: {p["name"] for p in cluster.json("ps")["items"]} >= SERVING, within=30)
        wait_until(lambda: speaks(cluster), within=30)
        cluster.dctl("infra", "wait")
        assert cluster.json("infra", "plan")["changes"] == 0
        cluster.dctl("kv", "set", "user/eve", "3")
        cluster.dctl("broker", "produce", "--type", "t", "--data", "third")
        assert events(cluster) == [*told, (told[-1][0] + 1, "third")]


SERVING = {"blueprint", "catalyst", "fuse", "echo"}
