"""From specs to resources."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dctl.engine.catalogue.containers import ContainerSite
from dctl.engine.catalogue.ground import Ground
from dctl.engine.catalogue.processes import ProcessSite
from dctl.engine.cluster import open_cluster
from dctl.engine.desired import desired
from dctl.engine.ports import PortBook
from dctl.errors import SpecError
from dctl.hosts.base import Condition, Kind, Need, Resource
from dctl.secrets.references import secret_name
from dctl.spec import load

HEAD = "apiVersion: draft/v1\nkind: Cluster\nname: shop\n"
MAIN = "print('hello')\n"

Build = Callable[[str], dict[str, Resource]]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A spec's text to its resources by name; there is a service folder `services/cart`."""
    folder = tmp_path / "services" / "cart"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(MAIN)
    (folder / "config.yaml").write_text("shop: {currency: EUR, tax: 19}\n")

    def build(text: str) -> dict[str, Resource]:
        path = tmp_path / "cluster.yaml"
        path.write_text(HEAD + text)
        free = iter(range(40_000, 50_000))
        cluster = load(path, root=tmp_path).cluster
        site = ProcessSite(
            host="local",
            ports=PortBook([], lambda host, address: next(free)),
            files_of=lambda name: Path("/state/processes") / name,
            data_of=lambda name: Path("/state/data") / name,
            secret_of=lambda name, secret: Path("/state/delivered") / name / secret,
            secret_file=lambda name: Path("/state") / name,
            nonce_file=Path("/state/nonce"),
            nonce_name=secret_name(cluster.security.nonce),
            api=tmp_path / "gen" / "shop_api" if (tmp_path / "gen").is_dir() else None,
        )
        resources = desired(Ground(cluster, tmp_path, {"local": site}))
        return {resource.name: resource for resource in resources}

    return build


def test_an_empty_spec_is_the_five_core_parts_on_their_default_ports(build: Build) -> None:
    found = build("")
    assert list(found) == ["nats-1", "blueprint-1", "catalyst-1", "fuse-1", "envoy-1"]
    ports = {name: [e.port for e in r.ports.values()] for name, r in found.items()}
    assert ports == {
        "nats-1": [4222, 8222],
        "blueprint-1": [2221],
        "catalyst-1": [2220],
        "fuse-1": [18000],
        "envoy-1": [10000, 19000],
    }


def test_the_same_spec_gives_the_same_resources(build: Build) -> None:
    text = "services:\n  cart: {run: services/cart, replicas: 2}\n"
    assert build(text) == build(text)


def test_everything_listens_on_loopback_unless_told_otherwise(build: Build) -> None:
    hosts = {e.host for r in build("").values() for e in r.ports.values()}
    assert hosts == {"127.0.0.1"}
    told = build("core: {envoy: {listen: '0.0.0.0:10000'}}\n")["envoy-1"]
    assert told.ports["ingress"].host == "0.0.0.0"
    assert told.check is not None
    assert "0.0.0.0" not in told.check.target


def test_a_part_that_is_left_out_is_not_there_and_nobody_waits_for_it(build: Build) -> None:
    found = build("core: {fuse: false, envoy: false}\nservices: {cart: {run: services/cart}}\n")
    assert list(found) == ["nats-1", "blueprint-1", "catalyst-1", "cart-1"]
    assert found["cart-1"].needs == (Need("blueprint-1", Condition.HEALTHY),)


def test_a_service_is_told_who_it_is_and_where_blueprint_is(build: Build) -> None:
    cart = build("services: {cart: {run: services/cart, env: {REGION: eu}}}\n")["cart-1"]
    env = cart.spec["env"]
    assert env["DRAFT_SERVICE_NAME"] == "cart"
    assert env["DRAFT_INSTANCE"] == "cart-1"
    assert env["DRAFT_SERVICE_ENTRYPOINT"] == "127.0.0.1:2221"
    assert env["DRAFT_SERVICE_NETWORK_BIND_PORT"] == str(cart.ports["grpc"].port)
    assert env["DRAFT_NONCE_FILE"] == "/state/nonce"
    assert env["REGION"] == "eu"


def test_metrics_are_a_port_more_for_what_is_built_on_the_chassis_and_none_unless_asked(
    build: Build,
) -> None:
    services = """services:
  cart: {run: services/cart, replicas: 2}
  fixed: {run: services/cart, ports: {metrics: 9100}}
  web: {command: [web]}
"""
    without = build(services)
    asked = build("observability: {metrics: true}\n" + services)
    scraped = {name for name, resource in asked.items() if "metrics" in resource.ports}
    assert scraped == {"blueprint-1", "catalyst-1", "fuse-1", "cart-1", "cart-2", "fixed-1"}
    for name in scraped:
        port = asked[name].ports["metrics"]
        assert asked[name].spec["env"]["DRAFT_DRAFT_METRICS_PORT"] == str(port.port)
        assert asked[name].spec["env"]["DRAFT_DRAFT_METRICS_ADDRESS"] == str(port)
    assert asked["fixed-1"].ports["metrics"].port == 9100
    assert [*asked["cart-1"].ports] == ["grpc", "metrics"], "health is asked of the first"
    assert not [r for r in without.values() if "DRAFT_METRICS" in str(r.spec)]


def test_keys_have_a_part_of_the_engine_unless_the_spec_says_how_much(build: Build) -> None:
    def told(text: str) -> str:
        return str(build(text)["blueprint-1"].spec["files"]["config.yaml"])

    assert f"max_store: {64 * 1024**2 * 3 // 8}" in told("core: {nats: {max_store: 64M}}\n")
    assert "max_store: 1000\n" in told("core: {blueprint: {config: {max_store: 1000}}}\n")


def test_config_of_the_spec_is_merged_over_the_folders(build: Build) -> None:
    text = "services: {cart: {run: services/cart, config: {shop: {tax: 7}}}}\n"
    config = build(text)["cart-1"].spec["files"]["config.yaml"]
    assert config == "shop:\n  currency: EUR\n  tax: 7\n"


def test_services_import_what_the_protos_give_and_a_change_of_it_is_one_of_theirs(
    build: Build, tmp_path: Path
) -> None:
    text = "services:\n  cart: {run: services/cart}\n  sweep: {command: sleep 1}\n"
    assert "PYTHONPATH" not in build(text)["cart-1"].spec["env"]
    package = tmp_path / "gen" / "shop_api"
    package.mkdir(parents=True)
    (package / "orders_pb2.py").write_text("A = 1\n")
    before = build(text)
    assert before["cart-1"].spec["env"]["PYTHONPATH"] == str(tmp_path / "gen")
    assert "PYTHONPATH" not in before["blueprint-1"].spec["env"]
    assert "PYTHONPATH" not in before["sweep-1"].spec["env"]
    (package / "orders_pb2.py").write_text("A = 2\n")
    after = build(text)
    assert {name for name in before if before[name] != after[name]} == {"cart-1"}
    own = "services:\n  cart: {run: services/cart, env: {PYTHONPATH: /mine}}\n"
    assert build(own)["cart-1"].spec["env"]["PYTHONPATH"] == "/mine"


def test_a_change_of_the_code_is_a_change_of_the_resource(build: Build, tmp_path: Path) -> None:
    text = "services: {cart: {run: services/cart}}\n"
    before = build(text)["cart-1"].spec["source"]
    cache = tmp_path / "services/cart/__pycache__"
    cache.mkdir()
    (cache / "main.pyc").write_bytes(b"x")
    assert build(text)["cart-1"].spec["source"] == before
    (tmp_path / "services/cart/main.py").write_text("print('bye')\n")
    assert build(text)["cart-1"].spec["source"] != before


def test_replicas_share_everything_but_their_name_and_port(build: Build) -> None:
    text = "services: {cart: {run: services/cart, replicas: 2, ports: {grpc: 7000}}}\n"
    found = build(text)
    assert found["cart-1"].ports["grpc"].port == 7000
    assert found["cart-2"].ports["grpc"].port == 40_000


def test_routes_of_what_registers_follow_the_registry_and_others_name_endpoints(
    build: Build,
) -> None:
    found = build(
        "services:\n"
        "  cart: {run: services/cart, routes: [{prefix: /cart/}]}\n"
        "  web: {command: [web], ports: {http: 8080}, routes: [{prefix: /, http2: false}]}\n"
    )
    assert found["spec/cart/1"].spec["service"] == "cart"
    assert found["spec/web/1"].spec["service"] == ""
    assert found["spec/web/1"].spec["endpoints"] == ["127.0.0.1:8080"]


def test_exposing_the_core_is_a_matter_of_routes(build: Build) -> None:
    found = build("core: {envoy: {expose_core: true}, catalyst: false}\n")
    routes = [name for name, r in found.items() if r.kind is Kind.ROUTE]
    assert routes == ["spec/blueprint/1", "spec/blueprint/2", "spec/fuse/1"]


def test_what_is_not_carried_out_yet_is_refused_at_its_place_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(HEAD + "runtime: systemd\nservices:\n  web: {image: nginx}\n")
    with pytest.raises(SpecError) as caught:
        open_cluster(path)
    first_lines = [problem.splitlines()[0] for problem in caught.value.problems]
    assert [line.split(": ")[0].removeprefix(str(tmp_path)) for line in first_lines] == [
        "/cluster.yaml:4:1",
        "/cluster.yaml:6:9",
    ]


def test_where_everything_encrypts_each_part_has_a_certificate_of_its_own(build: Build) -> None:
    found = build("security: {tls: true}\nservices: {cart: {run: services/cart}}\n")
    told = {name: r.spec["env"].get("DRAFT_TLS_FILE") for name, r in found.items()}
    assert told == {name: f"/state/tls-{name.removesuffix('-1')}" for name in found}
    peers = {name: r.check.service for name, r in found.items() if r.check}
    grpc = {name: name.removesuffix("-1") for name in ("blueprint-1", "catalyst-1", "fuse-1")}
    assert peers == {"nats-1": "", "envoy-1": "", "cart-1": "cart", **grpc}


def test_where_nothing_encrypts_nobody_has_one(build: Build) -> None:
    found = build("services: {cart: {run: services/cart}}\n")
    assert not any("DRAFT_TLS_FILE" in r.spec["env"] for r in found.values())
    assert not any(r.check.service for r in found.values() if r.check)


def test_nodes_of_the_engine_speak_to_each_other_and_to_clients_by_tls_alone(build: Build) -> None:
    text = build("security: {tls: true}\ncore: {nats: {replicas: 3}}\n")["nats-2"].spec["files"]
    client, _, cluster = text["nats.conf"].partition("cluster {")
    for part in (client, cluster):
        assert 'cert_file: "/state/tls-nats"' in part
        assert "verify: true" in part


def test_a_service_may_import_the_modules_beside_its_main(build: Build) -> None:
    argv = build("services: {cart: {run: services/cart}}\n")["cart-1"].spec["argv"]
    assert "-P" not in argv
    assert argv[-1].endswith("/services/cart/main.py")


def test_of_a_secret_a_process_is_told_the_file_and_its_spec_holds_no_more(build: Build) -> None:
    found = build(
        "secrets: {db: {env: DB}}\n"
        "services:\n"
        "  cart: {run: services/cart, env: {DB: secret://db, REGION: eu}}\n"
        "  mail: {command: mail}\n"
    )
    spec = found["cart-1"].spec
    assert spec["env"]["DB_FILE"] == "/state/delivered/cart-1/db"
    assert spec["env"]["REGION"] == "eu"
    assert "DB" not in spec["env"]
    assert spec["digests"] == {"db": ""}
    assert "secret://" not in str(spec)
    rollout = found["cart-1"].rollout
    assert rollout is not None
    assert rollout.stand_in is not None
    assert rollout.stand_in.spec["env"]["DB_FILE"] == "/state/delivered/cart-next/db"
    assert found["mail-1"].spec["digests"] == {}


def test_a_nonce_of_the_spec_is_shared_by_those_who_are_told_of_it(build: Build) -> None:
    found = build(
        "security: {nonce: secret://seal}\nsecrets: {seal: {env: SEAL}}\n"
        "services: {cart: {run: services/cart}, mail: {command: [mail]}}\n"
    )
    assert {name for name, r in found.items() if r.spec.get("shared") == {"seal": ""}} == {
        "blueprint-1", "catalyst-1", "fuse-1", "cart-1", "mail-1",
    }  # fmt: skip
    rollout = found["cart-1"].rollout
    assert rollout
    assert rollout.stand_in
    assert rollout.stand_in.spec["shared"] == {"seal": ""}
    assert found["cart-1"].spec["env"]["DRAFT_NONCE_FILE"] == "/state/nonce"
    assert build("")["blueprint-1"].spec["shared"] == {}


def test_a_container_gets_secrets_as_files_where_variables_and_mounts_say(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    (tmp_path / "cluster.yaml").write_text(
        HEAD + "runtime: docker\n"
        "core: {nats: false, blueprint: false, catalyst: false, fuse: false, envoy: false}\n"
        "security: {nonce: secret://nonce}\n"
        "secrets: {db: {env: DB}, key: {env: KEY}, nonce: {env: NONCE}}\n"
        "infra:\n"
        "  store: {from: postgres, env: {POSTGRES_PASSWORD: secret://db}, "
        "files: {/etc/key: secret://key, /etc/plain: plain}}\n"
        "services: {cart: {image: shop/cart}}\n"
    )
    cluster = load(tmp_path / "cluster.yaml", root=tmp_path).cluster
    site = ContainerSite(
        host="local",
        ports=PortBook([], lambda host, address: 40_000),
        images={},
        nonce_from="secret://nonce",
    )
    store, cart = desired(Ground(cluster, tmp_path, {"local": site}))
    assert store.spec["env"]["POSTGRES_PASSWORD_FILE"] == "/run/draft/secrets/db"
    assert "POSTGRES_PASSWORD" not in store.spec["env"]
    assert store.spec["files"] == {"/etc/plain": "text"}
    assert store.spec["secrets"] == {
        "/etc/key": "secret://key",
        "/run/draft/secrets/db": "secret://db",
    }
    assert set(store.spec["digests"]) == {"db", "key"}
    # Who is told of the cluster's own secret, and nobody else, is given it.
    assert cart.spec["env"]["DRAFT_NONCE_FILE"] == "/run/draft/nonce"
    assert cart.spec["secrets"] == {"/run/draft/nonce": "secret://nonce"}
    assert set(cart.spec["digests"]) == {"nonce"}


def test_services_that_keep_objects_have_a_user_of_the_engine_for_their_buckets(
    build: Build,
) -> None:
    found = build(
        "core: {nats: {max_store: 2G}}\n"
        "services: {cart: {run: services/cart, objects: true}, tool: {command: a}}\n"
    )
    config = found["nats-1"].spec["files"]["nats.conf"]
    assert 'include "../../objects"' in config
    assert "{user: objects, password: $objects," in config
    assert '"$O.cart.>"' in config
    assert "$O.tool" not in config
    env = found["cart-1"].spec["env"]
    assert env["DRAFT_OBJECTS"] == "nats://127.0.0.1:4222"
    assert env["DRAFT_OBJECTS_FILE"] == "/state/objects"
    config = found["blueprint-1"].spec["files"]["config.yaml"]
    assert f"objects:\n    {env['DRAFT_OBJECTS_BUCKET']}: {(2 << 30) // 16}\n" in config
    assert not any(key.startswith("DRAFT_OBJECTS") for key in found["tool-1"].spec["env"])
    assert "objects" not in build("")["nats-1"].spec["files"]["nats.conf"]
