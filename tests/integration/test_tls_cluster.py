"""A cluster in which everything encrypts: raised, used, attacked, grown, and switched back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import nats
import nats.errors
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.clients import connect
from chassis.tls import Identity, Secure, read_identity
from dctl.secrets.authority import identity, new_authority
from tests.support.clusters import Cluster
from tests.support.load import speak

SECURITY = "security: {tls: true, calls: token}\n"
# What a node of the same cluster says first; one that does not encrypt answers PONG to it.
ROUTE = (
    'CONNECT {{"verbose":false,"name":"stranger","cluster":"{cluster}"}}\r\n'
    'INFO {{"server_id":"NSTRANGER","server_name":"s","cluster":"{cluster}","proto":1}}\r\n'
    "PING\r\n"
)
SERVICES = {"blueprint", "catalyst", "fuse", "echo"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("tls"))
    try:
        change(made, "security: {nonce: any}\n", SECURITY)
        made.dctl("infra", "apply", "-y")
        yield made
    finally:
        made.close()


def change(cluster: Cluster, before: str, after: str) -> None:
    spec = cluster.folder / "cluster.yaml"
    text = spec.read_text()
    assert before in text
    spec.write_text(text.replace(before, after))


def own(cluster: Cluster, service: str) -> Path:
    return cluster.state / "secrets" / f"tls-{service}"


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""


def healthy(address: str, secure: Secure | None = None) -> bool:
    async def ask() -> bool:
        async with connect(address, secure=secure) as channel:
            request = health_pb2.HealthCheckRequest()
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return asyncio.run(ask())


def test_all_of_it_works_as_it_does_without(cluster: Cluster) -> None:
    found = {row["name"] for row in cluster.json("ps")["items"]}
    assert found >= SERVICES
    assert all(row["health"] == "healthy" for row in cluster.status().values())
    cluster.dctl("infra", "plan", "--detailed-exitcode")
    cluster.dctl("kv", "set", "greeting", "hello")
    assert cluster.dctl("kv", "get", "greeting").stdout == "hello\n"
    cluster.dctl("broker", "produce", "--type", "demo.tls", "--data", "1")
    cluster.dctl("broker", "consume", "--type", "demo.tls", "--from", "all", "--count", "1")
    cluster.dctl("lock", "acquire", "deploy", "--", "true")
    cluster.dctl("backup", "create", "whole.tar.zst")
    assert speak(cluster.address("envoy-1"), "hi") == "hi"


@pytest.mark.parametrize("instance", [f"{name}-1" for name in sorted(SERVICES)])
def test_no_service_answers_who_does_not_encrypt(cluster: Cluster, instance: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        healthy(cluster.address(instance))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_cluster_opens_nothing(cluster: Cluster) -> None:
    stranger = Identity.of(identity(new_authority(cluster.name), "echo").encode())
    known = read_identity(own(cluster, "echo"))
    address = cluster.address("blueprint-1")

    assert healthy(address, known.to("blueprint"))
    mixed = Identity(stranger.key, stranger.certificate, known.authority)
    with pytest.raises(grpc.aio.AioRpcError):
        healthy(address, mixed.to("blueprint"))


def test_the_engine_answers_nobody_without_a_certificate(cluster: Cluster) -> None:
    """Whoever knows the password, too."""
    password = (cluster.state / "secrets" / "engine").read_text().split('"')[1]
    url = f"nats://{cluster.address('nats-1')}"

    async def enter(**more: object) -> None:
        async def quiet(_: Exception) -> None: ...

        client = await nats.connect(
            url,
            user="draft",
            password=password,
            allow_reconnect=False,
            error_cb=quiet,
            **more,  # type: ignore[arg-type]
        )
        await client.close()

    context = read_identity(own(cluster, "catalyst")).context()
    asyncio.run(enter(tls=context, tls_hostname="nats.draft"))
    with pytest.raises((OSError, nats.errors.Error)):
        asyncio.run(enter())


def test_nobody_has_the_authoritys_key_but_where_it_was_made(cluster: Cluster) -> None:
    kept = cluster.state / "secrets" / "authority"
    assert kept.stat().st_mode & 0o777 == 0o600
    key = kept.read_text().partition("-----BEGIN CERTIFICATE")[0].strip()
    files = [path for path in cluster.state.rglob("*") if path.is_file() and path != kept]
    assert not [path for path in files if key.encode() in path.read_bytes()]


def test_a_restart_of_anything_is_no_change_of_certificates(cluster: Cluster) -> None:
    before = {path.name: path.read_text() for path in own(cluster, "echo").parent.iterdir()}
    change(cluster, "replicas: 1", "replicas: 2")
    cluster.dctl("infra", "apply", "-y")
    after = {path.name: path.read_text() for path in own(cluster, "echo").parent.iterdir()}
    assert after == before


def test_nodes_of_the_engine_are_let_in_by_certificate_and_the_data_move_to_them(
    cluster: Cluster,
) -> None:
    cluster.dctl("kv", "set", "moved", "along")
    change(cluster, "max_store: 64M}", "max_store: 64M, replicas: 3}")
    cluster.dctl("infra", "apply", "-y", timeout=120)
    assert cluster.dctl("kv", "get", "moved").stdout == "along\n"
    assert all(row["health"] == "healthy" for row in cluster.status().values())
    cluster.dctl("infra", "plan", "--detailed-exitcode")
    host, _, port = cluster.address("nats-1", 2).rpartition(":")
    with socket.create_connection((host, int(port)), 5) as stranger:
        stranger.settimeout(10)
        stranger.sendall(ROUTE.format(cluster=cluster.name).encode())
        said = b""
        while part := _received(stranger):
            said += part
        assert b"PONG" not in said


def test_it_can_be_switched_off_and_what_was_written_stays(cluster: Cluster) -> None:
    cluster.dctl("kv", "set", "before", "it")
    change(cluster, "tls: true", "tls: false")
    cluster.dctl("infra", "apply", "-y", timeout=180)
    assert cluster.dctl("kv", "get", "before").stdout == "it\n"
    assert all(row["health"] == "healthy" for row in cluster.status().values())
    assert speak(cluster.address("envoy-1"), "hi") == "hi"
    cluster.dctl("infra", "plan", "--detailed-exitcode")
    assert healthy(cluster.address("echo-1"))
