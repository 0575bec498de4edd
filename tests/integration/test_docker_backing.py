"""Backing services and other people's images, as containers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clusters import Cluster
from tests.support.docker import docker, image
from tests.support.waiting import wait_until

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: {name}
runtime: docker
core: {{nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}}
infra:
  store:
    image: {image}
    command: [sh, -c, "trap 'exit 0' TERM; while :; do cat /data/kept 2>&1 | nc -l -p 7000; done"]
    ports: ["0:7000"]
    volumes: {{data: /data}}
    health: {{exec: ["true"], interval: 100ms}}
services:
  reader:
    image: {image}
    files: {{/etc/rules.txt: rules.txt}}
    env: {{STORE: "store:7000"}}
    depends_on: {{store: healthy}}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path, name=f"b{abs(hash(str(tmp_path))):x}"[:12])
    (tmp_path / "rules.txt").write_text("be kind\n")
    (tmp_path / "cluster.yaml").write_text(SPEC.format(name=cluster.name, image=image()))
    try:
        cluster.dctl("infra", "apply", "-y")
        yield cluster
    finally:
        cluster.close()


def in_container(cluster: Cluster, instance: str, *argv: str) -> str:
    return docker("exec", f"draft-{cluster.name}-{instance}", *argv)


def said_at(address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            return connection.recv(100).decode().strip()
    except OSError:
        return ""


def test_a_backing_service_is_published_named_and_kept(cluster: Cluster) -> None:
    in_container(cluster, "store-1", "sh", "-c", "echo gold > /data/kept")
    # Its first answer is from before the file was there.
    wait_until(lambda: said_at(cluster.address("store-1")) == "gold")
    in_container(cluster, "reader-1", "sh", "-c", "nc -w 2 store 7000 < /dev/null | cat")
    cluster.dctl("infra", "destroy", "-y")
    cluster.dctl("infra", "apply", "-y")
    assert in_container(cluster, "store-1", "cat", "/data/kept") == "gold"


def test_files_of_the_workspace_are_put_into_a_container(cluster: Cluster) -> None:
    assert in_container(cluster, "reader-1", "cat", "/etc/rules.txt") == "be kind"
    (cluster.folder / "rules.txt").write_text("be quick\n")
    plan = cluster.dctl("infra", "plan", "--detailed-exitcode", code=2).stdout
    assert "1 to replace" in plan
    assert "files./etc/rules.txt" in plan
    cluster.dctl("infra", "apply", "-y")
    assert in_container(cluster, "reader-1", "cat", "/etc/rules.txt") == "be quick"


def test_an_image_that_cannot_be_had_stops_nothing(cluster: Cluster) -> None:
    def running() -> str:
        return docker("ps", "--no-trunc", "--format", "{{.ID}} {{.Names}}", *ours)

    ours = ("--filter", f"label=draft.cluster={cluster.name}")
    before = running()
    spec = cluster.folder / "cluster.yaml"
    text = spec.read_text()
    # The one wants another image, the other would leave.
    spec.write_text(text[: text.index("services:")].replace(image(), "127.0.0.1:1/none:1"))
    done = cluster.dctl("infra", "apply", "-y", code=4)
    assert "image 127.0.0.1:1/none:1 is not on the engine and cannot be pulled" in done.stderr
    assert running() == before
    assert "reader-1" in before
    spec.write_text(text)
