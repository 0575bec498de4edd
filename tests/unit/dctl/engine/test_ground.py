"""Several hosts: who is placed where, where each listens, and whom it calls."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.processes import ProcessSite
from dctl.engine.desired import desired
from dctl.engine.ports import PortBook
from dctl.engine.runtimes.base import Settled
from dctl.engine.unsupported import unsupported
from dctl.hosts.base import Resource
from dctl.hosts.passive import NoSecrets
from dctl.spec import load

HEAD = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"
HOSTS = """\
hosts:
  core-1: {ssh: me@10.0.0.1, labels: {role: core}}
  core-2: {ssh: me@core-two, address: 10.0.0.2, labels: {role: core}, variables: {ZONE: b}}
  edge-1: {ssh: me@10.0.0.3}
"""
CORE = """\
core:
  nats: {on: core-1}
  blueprint: {replicas: 2, on: {role: core}}
  catalyst: {on: core-2}
  fuse: {replicas: 3, on: {role: core}}
  envoy: {on: edge-1, listen: "0.0.0.0:10000"}
"""

Build = Callable[[str], Mapping[str, Resource]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A spec's text to its resources by name, all of them as processes."""

    def build(text: str) -> Mapping[str, Resource]:
        path = tmp_path / "cluster.yaml"
        path.write_text(HEAD + text)
        loaded = load(path, root=tmp_path)
        picked = iter(range(20_001, 30_000))
        ports = PortBook([], lambda host, address: next(picked))
        sites = {
            host: ProcessSite(
                host=host,
                ports=ports,
                address=settled.address,
                variables=settled.variables,
                files_of=lambda name: Path("/files") / name,
                data_of=lambda name: Path("/data") / name,
                secret_of=lambda name, secret: Path("/delivered") / name / secret,
                secret_file=lambda name: Path("/kept") / name,
            )
            for host in loaded.cluster.hosts
            for settled in [Settled.of(loaded, host, {}, NoSecrets())]
        }
        resources = desired(Ground(loaded.cluster, tmp_path, sites))
        return {resource.name: resource for resource in resources}

    return build


def test_replicas_are_dealt_out_in_turn_to_the_hosts_that_are_selected(build: Build) -> None:
    found = build(HOSTS + CORE)
    assert {name: resource.host for name, resource in found.items()} == {
        "nats-1": "core-1",
        "blueprint-1": "core-1",
        "blueprint-2": "core-2",
        "catalyst-1": "core-2",
        "fuse-1": "core-1",
        "fuse-2": "core-2",
        "fuse-3": "core-1",
        "envoy-1": "edge-1",
    }


def test_what_others_call_listens_where_they_reach_it_and_the_rest_on_loopback(
    build: Build,
) -> None:
    found = build(HOSTS + CORE)
    listens = {name: [str(e) for e in found[name].ports.values()] for name in found}
    assert listens["nats-1"] == ["10.0.0.1:4222", "127.0.0.1:8222"]
    assert listens["blueprint-2"] == ["10.0.0.2:2221"]
    assert listens["envoy-1"] == ["0.0.0.0:10000", "127.0.0.1:19000"]


def test_metrics_are_told_where_the_service_listens(build: Build) -> None:
    blueprint = build(HOSTS + CORE + "observability: {metrics: true}\n")["blueprint-2"]
    assert blueprint.ports["metrics"].host == "10.0.0.2"
    address = str(blueprint.ports["metrics"])
    assert blueprint.spec["env"]["DRAFT_DRAFT_METRICS_ADDRESS"] == address


def test_the_first_on_each_host_has_the_wished_port_and_further_ones_any(build: Build) -> None:
    found = build(HOSTS + CORE)
    ports = [found[f"fuse-{n}"].ports["grpc"].port for n in (1, 2, 3)]
    assert ports[:2] == [18000, 18000]
    assert ports[2] > 20_000


def test_each_calls_the_blueprint_of_its_own_host_if_there_is_one(build: Build) -> None:
    found = build(HOSTS + CORE)
    called = {name: r.spec["env"].get("DRAFT_SERVICE_ENTRYPOINT") for name, r in found.items()}
    assert called["fuse-1"] == "10.0.0.1:2221"
    assert called["catalyst-1"] == called["fuse-2"] == "10.0.0.2:2221"


def test_a_hosts_variables_are_in_what_is_placed_there_and_a_parts_own_word_wins(
    build: Build,
) -> None:
    found = build(HOSTS + CORE.replace("catalyst: {", "catalyst: {env: {ZONE: own}, "))
    zones = {name: r.spec["env"].get("ZONE") for name, r in found.items()}
    assert zones == {
        **dict.fromkeys(found, None),
        "blueprint-2": "b",
        "fuse-2": "b",
        "catalyst-1": "own",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hosts: {a: {ssh: me@box}, b: {ssh: me@10.0.0.2}}", "needs the address"),
        ("hosts: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2}}", "this machine, and so is a"),
        ("hosts: {a: {runtime: systemd}}", "systemd is for hosts that are reached by ssh"),
        (
            "hosts: {a: {ssh: me@box}}\ncore: {nats: {runtime: docker}}",
            "its runtime is",
        ),
        ("hosts: {a: {ssh: me@box}}\ninfra: {db: {image: pg}}", "backing services need"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_a_reason(
    text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HEAD + text)
    reasons = [reason for _, reason in unsupported(load(path, root=tmp_path).cluster)]
    assert len(reasons) == 1, reasons
    assert said in reasons[0]
