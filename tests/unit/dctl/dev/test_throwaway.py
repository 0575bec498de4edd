"""A cluster of its own: the same spec under another name, on free ports."""

from pathlib import Path

import pytest

from dctl.dev.lend import reopen, snapshot
from dctl.dev.throwaway import addresses, name_of, throwaway
from dctl.errors import UsageError
from dctl.spec import Cluster, Loaded, load

SPEC = """\
apiVersion: draft/v1
kind: Cluster
name: shop
core:
  nats: {max_store: 8G, replicas: 1}
  catalyst: false
  envoy: {listen: "0.0.0.0:10000", expose_core: true}
infra:
  redis: {from: redis}
  mailpit: {image: "axllent/mailpit:v1.20", ports: ["0.0.0.0:8025:8025"], runtime: docker}
services:
  web: {command: "web $$HOME ${X}", ports: {http: 8080, admin: "0.0.0.0:0"}}
"""


def loaded(folder: Path, text: str = SPEC) -> Loaded:
    (folder / "cluster.yaml").write_text(text)
    return load(folder / "cluster.yaml", env={"X": "${Y}"})


def model(data: object) -> Cluster:
    return Cluster.model_validate(data)


def test_no_port_of_it_is_another_ones(tmp_path: Path) -> None:
    own = loaded(tmp_path)
    cluster = model(throwaway(own, "abc"))
    assert cluster.name == "shop-test-abc"
    core = cluster.core
    assert core.nats
    assert core.blueprint
    assert core.fuse
    assert core.envoy
    ports = [core.nats.listen, core.nats.monitor, core.nats.cluster, core.blueprint.listen]
    ports += [core.fuse.listen, core.envoy.listen, core.envoy.admin]
    ports += cluster.services["web"].ports.values()
    ports += cluster.infra["mailpit"].ports + cluster.infra["redis"].ports
    assert {(port.host, port.port) for port in ports} == {("127.0.0.1", 0)}
    assert cluster.infra["mailpit"].ports[0].target == 8025
    assert cluster.infra["redis"].ports


def test_what_has_no_port_stays_as_it_is(tmp_path: Path) -> None:
    cluster = model(throwaway(loaded(tmp_path), "abc"))
    assert cluster.core.catalyst is False
    assert cluster.core.envoy
    assert cluster.core.envoy.expose_core
    assert loaded(tmp_path).data["name"] == "shop"


def test_a_snapshot_is_opened_as_the_very_same_cluster(tmp_path: Path) -> None:
    own = loaded(tmp_path)
    (tmp_path / "cluster.yaml").write_text("broken meanwhile: [")
    again = reopen(snapshot(own, ()), tmp_path, print)
    assert again.spec == own.cluster
    assert again.spec.services["web"].command == ("web", "$HOME", "${Y}")
    assert (again.source, again.root) == (own.path, own.root)
    assert not list(tmp_path.glob(".spec*"))


def test_a_long_name_has_room_for_the_suffix() -> None:
    name = name_of("a" * 50, "abcdef")
    assert len(name) == 50
    assert name.endswith("-test-abcdef")


def test_a_spec_of_other_machines_is_refused(tmp_path: Path) -> None:
    far = SPEC + "hosts: {edge: {ssh: deploy@10.0.0.1}}\n"
    with pytest.raises(UsageError, match="edge"):
        throwaway(loaded(tmp_path, far), "abc")


def test_tests_are_told_where_the_core_is() -> None:
    things = {"blueprint": {"grpc": "a:1"}, "envoy": {"admin": "a:2", "ingress": "a:3"}}
    assert addresses(things) == {"DRAFT_TEST_BLUEPRINT": "a:1", "DRAFT_TEST_INGRESS": "a:3"}
