"""A cluster whose Blueprint wants to know who calls."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from draft_api.core.control_plane.networking.v1.service_pb2 import ListRoutesRequest
from draft_api.core.control_plane.networking.v1.service_pb2_grpc import NetworkingServiceStub
from draft_api.core.message_broker.actors.v1.consumer_pb2 import ConsumeRequest
from draft_api.core.message_broker.actors.v1.consumer_pb2_grpc import ConsumerStub
from draft_api.core.message_broker.actors.v1.producer_pb2 import ProduceRequest
from draft_api.core.message_broker.actors.v1.producer_pb2_grpc import ProducerStub
from draft_api.examples.echo.v1.service_pb2 import SpeakRequest
from draft_api.examples.echo.v1.service_pb2_grpc import EchoServiceStub
from psutil import Process

from chassis.proof import nonce_of
from tests.support.clusters import Cluster

SECURITY = "security: {calls: token, audit: true}\n"
KEEPER = """\
import asyncio

from draft_api.core.registry.key_value.v1 import models_pb2, service_pb2, service_pb2_grpc
from google.protobuf.any_pb2 import Any

from chassis import Chassis

app = Chassis()


@app.runner
async def write(stop: asyncio.Event) -> None:
    keys = service_pb2_grpc.KeyValueServiceStub(app.blueprint())
    value = Any()
    value.Pack(models_pb2.Value(data="mine"))
    for key in ("keeper/own", "other/key"):
        try:
            await keys.Set(service_pb2.SetRequest(key=key, value=value), wait_for_ready=True)
        except Exception as error:
            print(f"{key}: {error.code().name}", flush=True)
    await stop.wait()


app.run()
"""
SERVICE = """\
  keeper:
    run: services/keeper
    permissions: {write: [keeper/]}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("access"))
    try:
        folder = made.folder / "services" / "keeper"
        folder.mkdir()
        (folder / "main.py").write_text(KEEPER)
        made.write(extra=SERVICE)
        spec = made.folder / "cluster.yaml"
        spec.write_text(spec.read_text().replace("security: {nonce: any}\n", SECURITY))
        made.dctl("infra", "apply", "-y")
        yield made
    finally:
        made.close()


def test_services_register_serve_and_are_found(cluster: Cluster) -> None:
    found = {row["name"] for row in cluster.json("ps")["items"]}
    assert {"blueprint", "catalyst", "fuse", "echo", "keeper"} <= found
    assert all(row["health"] == "healthy" for row in cluster.status().values())
    cluster.dctl("infra", "plan", "--detailed-exitcode")


def test_dctl_proves_who_it_is(cluster: Cluster) -> None:
    cluster.dctl("kv", "set", "greeting", "hello")
    assert cluster.dctl("kv", "get", "greeting").stdout == "hello\n"
    cluster.dctl("cluster", "status")
    cluster.dctl("lock", "acquire", "deploy", "--", "true")
    asked = '{"filter": {"all": "all"}}'
    assert (
        "echo" in cluster.dctl("call", "blueprint", "ServiceDiscoveryService/Query", asked).stdout
    )
    assert "hi" in cluster.dctl("call", "echo", "Speak", '{"input": "hi"}').stdout


def test_events_and_routes_are_for_who_proves_who_it_is(cluster: Cluster) -> None:
    cluster.dctl("broker", "produce", "--type", "demo.access", "--data", '"hello"')
    told = cluster.dctl(
        "broker", "consume", "--type", "demo.access", "--from", "all", "--count", "1"
    )
    assert "hello" in told.stdout
    assert "echo" in cluster.dctl("route", "list").stdout
    with grpc.insecure_channel(cluster.address("fuse-1")) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            NetworkingServiceStub(channel).ListRoutes(ListRoutesRequest())
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    with grpc.insecure_channel(cluster.address("catalyst-1")) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            next(ConsumerStub(channel).Consume(ConsumeRequest()))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.RpcError) as refused:
            next(ProducerStub(channel).Produce(iter([ProduceRequest()])))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_requests_through_the_ingress_are_served(cluster: Cluster) -> None:
    with grpc.insecure_channel(cluster.address("envoy-1")) as channel:
        answer = EchoServiceStub(channel).Speak(SpeakRequest(input="hello"), timeout=10)
        assert answer.output


def test_a_service_writes_what_the_spec_permits(cluster: Cluster) -> None:
    assert cluster.dctl("kv", "get", "keeper/own").stdout == "mine\n"
    cluster.dctl("kv", "get", "other/key", code=1)
    assert "other/key: PERMISSION_DENIED" in cluster.dctl("infra", "logs", "keeper").stdout


def test_who_wrote_what_is_in_blueprints_log(cluster: Cluster) -> None:
    told = cluster.dctl("infra", "logs", "blueprint").stdout
    assert "key=keeper/own who=keeper" in told
    assert "keeper may not write 'other/key'" in told


def test_a_service_is_given_its_own_nonce_and_not_the_clusters(cluster: Cluster) -> None:
    secrets = cluster.state / "secrets"
    nonce = (secrets / "nonce").read_text()
    assert (secrets / "nonce-keeper").read_text() == nonce_of(nonce, "keeper")
    told = {name: Process(pid).environ() for name, pid in cluster.pids().items()}
    assert told["keeper-1"]["DRAFT_NONCE_FILE"] == str(secrets / "nonce-keeper")
    assert told["fuse-1"]["DRAFT_NONCE_FILE"] == str(secrets / "nonce")
