"""The same spec as containers: raised, used, drifted and removed, by dctl alone."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dctl.hosts import ports
from tests.support.base_image import base_image
from tests.support.clusters import Cluster
from tests.support.docker import make_image
from tests.support.load import speak

# The first test of a machine makes the base image, and the first apply all images on it.
pytestmark = pytest.mark.timeout(900)
CORE = ("nats-1", "blueprint-1", "catalyst-1", "fuse-1", "envoy-1")


class Encrypted(Cluster):
    """All its containers speak to each other by TLS."""

    def write(self, *, replicas: int = 1, extra: str = "") -> None:
        super().write(replicas=replicas, extra=extra)
        spec = self.folder / "cluster.yaml"
        spec.write_text(spec.read_text().replace("{nonce: any}", "{nonce: any, tls: true}"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that stands in containers; its name is its folder's, so that runs never meet."""
    folder = tmp_path_factory.mktemp("docker")
    base = base_image()
    cluster = Encrypted(folder, name=f"t{abs(hash(str(folder))):x}"[:12])
    cluster.extra = f"runtime: docker\nimages: {{base: {base}}}\n"
    cluster.write()
    try:
        cluster.dctl("infra", "apply", "-y", timeout=600)
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def standing(cluster: Cluster) -> Iterator[Cluster]:
    """The shared cluster, which each test finds as its spec says."""
    yield cluster
    cluster.write()
    cluster.dctl("infra", "apply", "-y")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def container(cluster: Cluster, instance: str) -> str:
    return f"draft-{cluster.name}-{instance}"


def steps(cluster: Cluster) -> dict[str, dict[str, object]]:
    """The changes that a plan would make, by name."""
    plan = cluster.json("infra", "plan")
    return {step["name"]: step for step in plan["steps"] if step["action"] != "none"}


def test_a_request_passes_the_ingress_and_the_core_answers(standing: Cluster) -> None:
    assert speak(standing.address("envoy-1"), "hi") == "hi"
    standing.dctl("kv", "set", "greeting", "hello")
    assert standing.dctl("kv", "get", "greeting").stdout == "hello\n"
    names = {row["name"] for row in standing.json("ps")["items"]}
    assert names == {"blueprint", "catalyst", "fuse", "echo"}
    assert '"hi"' in standing.dctl("call", "echo", "Speak", '{"input": "hi"}').stdout
    assert "a container on" in standing.dctl("run", "-s", "echo", code=64).stderr


def test_what_stands_as_asked_plans_empty(standing: Cluster) -> None:
    assert steps(standing) == {}
    standing.dctl("infra", "plan", "--detailed-exitcode")


def test_a_stopped_container_is_healed(standing: Cluster) -> None:
    docker("kill", container(standing, "echo-1"))
    docker("stop", container(standing, "echo-1"))
    assert steps(standing)["echo-1"]["action"] == "heal"
    standing.dctl("infra", "apply", "-y")
    assert speak(standing.address("envoy-1"), "back") == "back"


def test_a_foreign_edit_is_named_field_by_field(standing: Cluster) -> None:
    docker("update", "--memory", "300m", "--memory-swap", "600m", container(standing, "echo-1"))
    step = steps(standing)["echo-1"]
    assert step["action"] == "replace"
    assert step["changes"] == [{"field": "memory", "before": 300 << 20, "after": None}]
    shown = standing.dctl("infra", "plan").stdout
    assert "memory 300M -> (none)   # forces replacement" in shown


def test_limits_are_those_of_the_spec_in_its_units(standing: Cluster) -> None:
    standing.write(extra="    resources: {memory: 192M, cpus: 0.5}\n")
    standing.dctl("infra", "apply", "-y")
    limits = "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}}"
    said = docker("inspect", "-f", limits, container(standing, "echo-1"))
    assert said.split() == [str(192 << 20), str(192 << 20), "500000000"]
    standing.write(extra="    resources: {memory: 0.25G, cpus: 1}\n")
    shown = standing.dctl("infra", "plan").stdout
    assert "memory 192M -> 256M" in shown
    assert "cpus 0.5 -> 1" in shown


def test_only_what_was_changed_in_the_spec_is_replaced(standing: Cluster) -> None:
    before = {name: docker("inspect", "-f", "{{.Id}}", container(standing, name)) for name in CORE}
    standing.write(extra="    env: {COLOR: red}\n")
    assert list(steps(standing)) == ["echo-next", "echo-1"]  # it stands in meanwhile
    standing.dctl("infra", "apply", "-y")
    after = {name: docker("inspect", "-f", "{{.Id}}", container(standing, name)) for name in CORE}
    assert before == after
    assert speak(standing.address("envoy-1"), "red") == "red"


def test_a_port_that_is_moved_is_a_change_and_stays_moved(standing: Cluster) -> None:
    low, high = sorted(ports.free("127.0.0.1") for _ in range(2))
    standing.write(extra=f"    ports: {{grpc: {low}}}\n")
    standing.dctl("infra", "apply", "-y")
    moved = ("--port-offset", str(high - low))
    plan = standing.json("infra", "plan", *moved)
    (step,) = (step for step in plan["steps"] if step["name"] == "echo-1")
    assert step["changes"] == [
        {"field": "ports.grpc", "before": f"127.0.0.1:{low}", "after": f"127.0.0.1:{high}"}
    ]
    standing.dctl("infra", "apply", "-y", *moved)
    assert standing.address("echo-1") == f"127.0.0.1:{high}"
    assert steps(standing) == {}


def test_keys_survive_the_end_of_every_container(standing: Cluster) -> None:
    standing.dctl("kv", "set", "kept", "yes")
    standing.dctl("infra", "destroy", "-y")
    assert docker("ps", "-aq", "--filter", f"name=draft-{standing.name}-") == ""
    standing.dctl("infra", "apply", "-y")
    assert standing.dctl("kv", "get", "kept").stdout == "yes\n"


def test_old_images_of_its_services_go_and_those_of_the_last_releases_stay(
    standing: Cluster,
) -> None:
    def tags() -> set[str]:
        named = docker("images", f"draft/{standing.name}-*", "--format", "{{.Repository}}:{{.Tag}}")
        return set(named.split())

    label = f"LABEL draft.image.cluster={standing.name}"
    old, foreign = (f"draft/{standing.name}-echo:{tag}" for tag in ("old", "foreign"))
    make_image(old, label)
    make_image(foreign)
    before = tags() - {old, foreign}
    main = standing.folder / "services" / "examples" / "echo" / "main.py"
    text = main.read_text()
    try:
        main.write_text(text + "# other code, other image\n")
        standing.dctl("infra", "apply", "-y")
        (made,) = tags() - before - {foreign}
        assert tags() == before | {made, foreign}
        standing.dctl("infra", "rollback", "-y")
        assert speak(standing.address("envoy-1"), "as before") == "as before"
    finally:
        main.write_text(text)
        docker("rmi", foreign)


def test_more_replicas_share_the_requests(standing: Cluster) -> None:
    standing.write(replicas=2)
    standing.dctl("infra", "apply", "-y")
    assert speak(standing.address("envoy-1"), "two") == "two"
    echoes = [row for row in standing.json("ps")["items"] if row["name"] == "echo"]
    assert {row["address"] for row in echoes} == {"echo-1:50500", "echo-2:50500"}


def test_nothing_is_left_after_a_full_clean(tmp_path: Path, cluster: Cluster) -> None:
    other = Cluster(tmp_path, name=f"{cluster.name}b")
    other.extra = cluster.extra
    other.write()
    try:
        other.dctl("infra", "apply", "-y")
    finally:
        other.close()
    for what in (["ps", "-aq"], ["volume", "ls", "-q"], ["network", "ls", "-q"]):
        assert docker(*what, "--filter", f"name=draft-{other.name}") == ""
    assert docker("images", "-q", f"draft/{other.name}-*") == ""
    assert not other.state.exists()
    # The neighbour never noticed.
    assert speak(cluster.address("envoy-1"), "still here") == "still here"
