"""Which hosts a workload may be placed on."""

from pathlib import Path

import pytest

from dctl import bundled
from dctl.spec import load
from dctl.spec.placement import hosts_for
from dctl.spec.types import Selector
from tests.unit.dctl.spec.cases import ROOT, read

CLUSTER = read(ROOT / "many/groups/cluster.yaml").cluster


@pytest.mark.parametrize(
    ("on", "hosts"),
    [
        (None, ["edge-1", "core-1", "core-2", "core-3"]),
        (Selector(host="core-2"), ["core-2"]),
        (Selector(labels={"role": "core"}), ["core-1", "core-2", "core-3"]),
        (Selector(labels={"role": "core", "zone": "a"}), ["core-1", "core-3"]),
        (Selector(labels={"role": "core", "zone": "c"}), []),
        (Selector(host="core-9"), []),
    ],
    ids=str,
)
def test_a_selector_gives_hosts_in_the_order_of_the_spec_and_groups_lend_them_labels(
    on: Selector | None, hosts: list[str]
) -> None:
    assert hosts_for(on, CLUSTER) == hosts


def test_a_cluster_without_hosts_lives_on_this_machine() -> None:
    cluster = read(ROOT / "good/minimal.yaml").cluster
    assert hosts_for(None, cluster) == hosts_for(Selector(host="local"), cluster) == ["local"]
    assert hosts_for(Selector(labels={"role": "core"}), cluster) == []


def test_the_inventory_that_ships_with_dctl_can_be_used(tmp_path: Path) -> None:
    spec = tmp_path / "cluster.yaml"
    inventory = bundled.folder("inventory") / "example.yaml"
    spec.write_text(f"apiVersion: draft/v1\nkind: Cluster\nname: shop\ninventory: {inventory}\n")

    cluster = load(spec, env={}).cluster

    core = Selector(labels={"role": "core"})
    assert hosts_for(core, cluster) == ["core-1", "core-2", "core-3"]
    assert [host.labels.get("zone") for host in cluster.hosts.values()] == [None, "a", "b", "a"]
    assert cluster.hosts["core-1"].variables == {"REGION": "eu"}
    assert hosts_for(Selector(labels={"role": "edge"}), cluster) == ["edge-1"]
