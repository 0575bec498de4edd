"""What a spec becomes: typed values, the same for every way to write them."""

from pathlib import Path

import pytest

from dctl.errors import SpecError
from dctl.spec import Cluster, Loaded, load
from dctl.spec.types import Address, Range, Selector, SshTarget
from tests.unit.dctl.spec.cases import GOOD, read


def good(name: str) -> Loaded:
    return read(next(path for path in GOOD if path.stem == name))


def spec(tmp_path: Path, text: str) -> Cluster:
    file = tmp_path / "cluster.yaml"
    file.write_text(f"apiVersion: draft/v1\nkind: Cluster\nname: shop\n{text}")
    return load(file, env={}).cluster


def test_durations_sizes_ports_and_ranges_are_typed() -> None:
    cart = good("everything").cluster.services["cart"]

    assert cart.health is not None
    assert (cart.health.interval, cart.health.start) == (5.0, 20.0)
    assert cart.restart.backoff == Range(1.0, 30.0)
    assert cart.resources.memory == 256 * 1024 * 1024
    assert cart.ports == {"grpc": Address("127.0.0.1", 0), "http": Address("0.0.0.0", 8080)}
    assert cart.on == Selector(labels={"role": "core"})
    assert cart.config == {"greeting": "hello", "limits": {"items": 50, "ratio": 0.5, "on": "yes"}}


def test_a_command_line_is_split_into_its_arguments() -> None:
    services = good("everything").cluster.services

    assert services["migrate"].command == ("python", "-m", "shop.migrate", "--to", "version 12")
    assert services["probe"].command == ("sh", "-c", "exec sleep 1000")


def test_hosts_come_inline_and_from_inventories() -> None:
    loaded = good("everything")

    assert list(loaded.cluster.hosts) == ["edge-1", "core-1", "core-2", "core-3"]
    assert loaded.cluster.hosts["core-1"].ssh == SshTarget("10.0.0.21", "deploy", 2222)
    assert [file.name for file in loaded.files] == ["everything.yaml", "prod.yaml"]


def test_the_core_is_there_by_default_and_listens_on_loopback() -> None:
    core = good("minimal").cluster.core

    assert core.nats
    assert core.envoy
    assert core.nats.listen == Address("127.0.0.1", 4222)
    assert core.nats.max_store == 2 << 30
    assert core.envoy.expose_core is False


def test_false_leaves_a_core_part_out(tmp_path: Path) -> None:
    core = spec(tmp_path, "core: {envoy: false, catalyst: false}\n").core

    assert core.envoy is False
    assert core.catalyst is False
    assert core.fuse


def test_variables_become_what_the_model_wants_and_never_structure() -> None:
    cluster = good("variables").cluster
    one = cluster.services["one"]

    assert cluster.core.envoy
    assert cluster.core.envoy.expose_core is True
    assert cluster.core.envoy.listen.port == 10001
    assert one.replicas == 3
    assert one.resources.cpus == 0.5
    assert one.resources.memory == 3 << 30
    assert one.runtime == "docker"
    assert one.env == {"A": "{a: [1]}", "B": "${COUNT}", "C": "default$", "D": ""}
    assert one.config == {"text": "3"}


def test_environment_variables_are_text_exactly_as_written(tmp_path: Path) -> None:
    one = spec(
        tmp_path,
        "services: {one: {command: a, env: {A: 1.10, B: 017, C: 1_000, D: True, E: 1e3, F: ''}}}\n",
    ).services["one"]

    assert one.env == {"A": "1.10", "B": "017", "C": "1_000", "D": "true", "E": "1e3", "F": ""}


def test_a_merge_key_gives_way_to_what_is_written_beside_it() -> None:
    services = good("extensions-and-anchors").cluster.services

    assert list(services) == ["one", "two"]
    assert (services["one"].replicas, services["two"].replicas) == (5, 2)
    assert services["two"].restart.when == "always"


def test_a_selector_matches_a_name_or_all_its_labels() -> None:
    assert Selector(host="a").matches("a", {})
    assert not Selector(host="a").matches("b", {"a": "a"})
    assert Selector(labels={"role": "core"}).matches("b", {"role": "core", "zone": "1"})
    assert not Selector(labels={"role": "core", "zone": "2"}).matches("b", {"role": "core"})


def test_a_loaded_spec_does_not_change() -> None:
    cluster = good("minimal").cluster
    with pytest.raises(ValueError, match="frozen"):
        cluster.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", ["gone.yaml", ".", "a\0b"])
def test_what_cannot_be_read_is_a_problem_of_the_spec(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(tmp_path / name)
    assert len(caught.value.problems) == 1
    assert ":1:1: cannot be read: " in caught.value.problems[0]


@pytest.mark.parametrize("value", ["\udcff", "a\0b"])
def test_a_variable_that_is_no_text_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text("name: ${A}\n")
    with pytest.raises(SpecError) as caught:
        load(file, env={"A": value})
    assert any("cluster.yaml:1:7: name: A contains" in p for p in caught.value.problems)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(SpecError, match="nothing was changed") as caught:
        load(Path("/dev/zero"))
    assert "is larger than 1 MiB" in caught.value.problems[0]
