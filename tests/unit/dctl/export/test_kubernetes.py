"""`dctl export kubernetes`: manifests by the published schemas, which say what the spec says."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from dctl.export.kubernetes import kubernetes
from dctl.export.site import images_of
from dctl.export.text import to_text
from dctl.spec import Loaded
from tests.support import kubernetes as schemas
from tests.unit.dctl.export.conftest import BLUEPRINTS, blueprint


def exported(loaded: Loaded, **options: str) -> Any:
    images = images_of(loaded.cluster, "registry.example.com/x", "1.2.3", "0.1.0")
    return kubernetes(loaded, images, **options)


def manifests(made: Any) -> list[Any]:
    """The documents as a parser sees them."""
    return list(YAML(typ="safe", pure=True).load_all(to_text(made.documents, "head")))


def by_name(made: Any) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): each for each in manifests(made)}


@pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)
def test_the_manifests_of_each_blueprint_are_valid(path: Path) -> None:
    for manifest in manifests(exported(blueprint(path), ingress="shop.example.com")):
        schemas.validate(manifest)


def test_the_manifests_of_a_bit_of_everything_are_valid(rich: Loaded) -> None:
    for manifest in manifests(exported(rich, storage_class="fast")):
        for version in (schemas.OLDEST, schemas.NEWEST):
            schemas.validate(manifest, version)


def test_the_published_schemas_refuse_what_is_no_key(rich: Loaded) -> None:
    deployment = by_name(exported(rich))["Deployment", "cart"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(jsonschema.ValidationError):
        schemas.validate(deployment)


def test_a_part_is_a_deployment_and_what_keeps_something_a_stateful_set(rich: Loaded) -> None:
    found = by_name(exported(rich))
    kinds = {name: kind for kind, name in found if kind in ("Deployment", "StatefulSet", "Job")}
    jobs = {name for name in kinds if name.startswith("routes-")}
    assert len(jobs) == 1
    assert {n: k for n, k in kinds.items() if n not in jobs} == {
        "nats": "StatefulSet", "postgres": "StatefulSet", "stock": "StatefulSet",
        "blueprint": "Deployment", "catalyst": "Deployment", "fuse": "Deployment",
        "envoy": "Deployment", "web": "Deployment", "cart": "Deployment", "migrate": "Job",
    }  # fmt: skip
    assert found["Deployment", "cart"]["spec"]["replicas"] == 3
    assert found["StatefulSet", "nats"]["spec"]["replicas"] == 3
    assert found["PodDisruptionBudget", "nats"]["spec"]["maxUnavailable"] == 1


def test_the_nodes_of_the_engine_know_each_other_by_name_and_keep_more_than_they_may(
    rich: Loaded,
) -> None:
    found = by_name(exported(rich, storage_class="fast"))
    config = found["ConfigMap", "nats"]["data"]["etc-draft-nats.conf"]
    assert "server_name: $POD_NAME" in config
    nodes = [f'"nats-route://nats-{number}.nats:6222"' for number in range(3)]  # pods count from 0
    assert f"routes: [{', '.join(nodes)}]" in config
    assert found["Service", "nats"]["spec"]["clusterIP"] == "None"
    claim = found["StatefulSet", "nats"]["spec"]["volumeClaimTemplates"][0]["spec"]
    assert int(claim["resources"]["requests"]["storage"]) > 4 << 30
    assert claim["storageClassName"] == "fast"


def test_a_pod_tells_what_it_is_and_where(rich: Loaded) -> None:
    template = by_name(exported(rich))["Deployment", "cart"]["spec"]["template"]["spec"]
    container = template["containers"][0]
    env = {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
    assert env["DRAFT_INSTANCE"] == "$(POD_NAME)"
    assert env["DRAFT_SERVICE_NETWORK_INTERNAL_HOST"] == "$(POD_IP)"
    assert env["DRAFT_DRAFT_METRICS_ADDRESS"].startswith("$(POD_IP):")
    assert env["DRAFT_SERVICE_ENTRYPOINT"] == "blueprint:2221"
    assert env["MAIL_PASSWORD"] == {
        "secretKeyRef": {"name": "cart-environment", "key": "MAIL_PASSWORD"}
    }
    assert list(container["env"][0]) == ["name", "valueFrom"]  # before it is spoken of
    port = next(p["containerPort"] for p in container["ports"] if p["name"] == "grpc")
    assert container["readinessProbe"]["grpc"] == {"port": port}
    assert "livenessProbe" not in container
    assert container["resources"]["limits"] == {"memory": str(256 << 20), "cpu": "500m"}
    assert template["enableServiceLinks"] is False
    assert template["terminationGracePeriodSeconds"] == 20
    assert template["securityContext"]["runAsNonRoot"] is True


def test_whatever_is_mounted_is_in_a_volume_that_is_there(rich: Loaded) -> None:
    found = by_name(exported(rich))
    for (kind, _), manifest in found.items():
        if kind not in ("Deployment", "StatefulSet", "Job"):
            continue
        spec = manifest["spec"]["template"]["spec"]
        claims = manifest["spec"].get("volumeClaimTemplates", ())
        volumes = {v["name"]: v for v in spec.get("volumes", ())}
        names = set(volumes) | {claim["metadata"]["name"] for claim in claims}
        for mount in spec["containers"][0].get("volumeMounts", ()):
            assert mount["name"] in names
            if mount["name"] == "files":
                config = found["ConfigMap", volumes["files"]["configMap"]["name"]]
                assert mount["subPath"] in config["data"]


def test_no_value_of_a_secret_is_written_and_each_is_named_to_be_made(rich: Loaded) -> None:
    made = exported(rich)
    text = to_text(made.documents, "head")
    assert "hunter2" not in text
    assert "PRIVATE KEY" not in text
    assert set(made.secrets) == {
        "engine", "objects", "nonce", "nonce-cart", "nonce-migrate", "nonce-stock", "db",
        "etc-cart-key-pem", "cart-environment",
    }  # fmt: skip


def test_what_cannot_be_said_is_told_at_its_place(rich: Loaded) -> None:
    told = {note.path: note for note in exported(rich).notes}
    assert set(told) == {
        ("services", "tool", "command"),
        ("services", "cart", "config", "mail", "password"),
        ("services", "cart", "depends_on", "migrate"),
        ("services", "stock", "volumes"),
        ("infra", "postgres", "volumes"),
    }
    assert f"{rich.path}:" in told["services", "tool", "command"].shown(rich)


def test_an_ingress_of_the_spec_on_loopback_is_no_load_balancer(rich: Loaded) -> None:
    outside = by_name(exported(rich))["Service", "envoy"]["spec"]
    assert outside["type"] == "LoadBalancer"
    assert [port["port"] for port in outside["ports"]] == [8080]
    local = exported(blueprint(next(path for path in BLUEPRINTS if path.stem == "local")))
    assert by_name(local)["Service", "envoy"]["spec"]["type"] == "ClusterIP"
    assert ("core", "envoy", "listen") in {note.path for note in local.notes}
