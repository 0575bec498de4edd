"""A connection to an engine that begins to encrypt, or to speak for another cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from draft_services.engine.connection import Connection, Login, connect
from draft_services.engine.errors import Unavailable

from chassis.tls import read_identity
from dctl.secrets.authority import identity, new_authority
from tests.support.nats import Nats, running_nats
from tests.support.waiting import until

TLS = """\
tls {{cert_file: "{file}", key_file: "{file}", ca_file: "{file}", verify: true}}
"""


def encrypted(server: Nats, authority: str) -> None:
    """Restart it so that it speaks by TLS alone."""
    server.kill()
    file = server.folder / "tls"
    file.write_text(identity(authority, "nats"))
    server.extra = TLS.format(file=file)
    server.start()


def own(folder: Path, authority: str) -> Login:
    file = folder / "own"
    file.write_text(identity(authority, "blueprint"))
    return Login("draft", "any", read_identity(file).context())


async def test_a_connection_comes_back_when_the_engine_does(tmp_path: Path) -> None:
    authority = new_authority("shop")
    with running_nats(tmp_path / "nats") as server:
        encrypted(server, authority)
        connection = await connect(server.url, name="test", login=own(tmp_path, authority))
        back = asyncio.Event()
        connection.on_reconnect(back.set)
        server.restart()
        async with asyncio.timeout(20):
            await back.wait()
        assert (await connection.api("INFO"))["streams"] == 0
        await connection.close()


async def test_an_engine_of_another_cluster_is_none_of_ours(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats") as server:
        encrypted(server, new_authority("shop"))
        login = own(tmp_path, new_authority("shop"))
        with pytest.raises(Unavailable):
            await connect(server.url, name="test", within=2, login=login)


async def test_closing_ends_also_while_encryption_does_not_come_about(tmp_path: Path) -> None:
    with running_nats(tmp_path / "nats") as server:
        connection = Connection(server.url, name="test")
        await connection.open()
        encrypted(server, new_authority("shop"))
        async with asyncio.timeout(20):
            await until(lambda: isinstance(connection._client.last_error, OSError))
            await connection.close()
