"""Encrypted connections between services, on real loopback sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.clients import Address, connect
from chassis.config import Nothing, load
from chassis.errors import ConfigError
from chassis.server import Server, make_server
from chassis.tls import Identity
from dctl.secrets.authority import identity, new_authority

AUTHORITY, OTHER = new_authority("shop"), new_authority("shop")


def made(service: str, authority: str = AUTHORITY) -> Identity:
    return Identity.of(identity(authority, service).encode())


@pytest_asyncio.fixture
async def cart() -> AsyncIterator[Server]:
    server = make_server([], Address("127.0.0.1", 0), tls=made("cart"))
    await server.start()
    yield server
    await server.stop(0)


async def ask(channel: grpc.aio.Channel) -> int:
    async with channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
        return int(answer.status)


async def test_services_of_one_cluster_understand_each_other(cart: Server) -> None:
    own = made("orders")
    assert await ask(connect(cart.address, secure=own.to("cart"))) == 1


async def test_who_does_not_encrypt_is_not_answered(cart: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(connect(cart.address))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_who_has_no_certificate_is_not_answered(cart: Server) -> None:
    credentials = grpc.ssl_channel_credentials(made("orders").authority)
    channel = grpc.aio.secure_channel(
        str(cart.address), credentials, (("grpc.ssl_target_name_override", "cart.draft"),)
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(channel)


async def test_who_has_one_of_another_authority_is_not_answered(cart: Server) -> None:
    stranger, own = made("orders", OTHER), made("orders")
    mixed = Identity(stranger.key, stranger.certificate, own.authority)
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(connect(cart.address, secure=mixed.to("cart")))


async def test_a_caller_speaks_to_nobody_but_the_service_that_it_means(cart: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="Hostname"):
        await ask(connect(cart.address, secure=made("orders").to("blueprint")))


async def test_a_caller_does_not_believe_another_authority(cart: Server) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await ask(connect(cart.address, secure=made("orders", OTHER).to("cart")))


def test_a_service_reads_its_certificate_from_the_file_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "tls"
    file.write_text(identity(AUTHORITY, "cart"))
    config = load(Nothing, None, env={"DRAFT_TLS_FILE": str(file)}, name="cart")
    assert config.tls == Identity.of(file.read_bytes(), file)
    assert load(Nothing, None, env={}, name="cart").tls is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" * 3,
        identity(AUTHORITY, "cart").rpartition("-----BEGIN")[0],
        AUTHORITY,
    ],
    ids=["empty", "no key", "no authority", "an authority"],
)
def test_a_file_that_is_no_identity_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tls"
    file.write_text(text)
    with pytest.raises(ConfigError, match=f"DRAFT_TLS_FILE: {file} holds no key"):
        load(Nothing, None, env={"DRAFT_TLS_FILE": str(file)}, name="cart")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(Nothing, None, env={"DRAFT_TLS_FILE": str(tmp_path / "none")}, name="cart")


def test_nobody_sees_the_key_where_an_identity_is_shown() -> None:
    assert "PRIVATE" not in repr(made("cart"))
