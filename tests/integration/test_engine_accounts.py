"""Who the engine knows: its users, their password, and where that is not."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest
from draft_services.engine.accounts import SYSTEM, Login, login
from draft_services.engine.connection import connect
from draft_services.engine.errors import Unavailable

from tests.support.trio import Trio, raised_trio


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    with raised_trio(tmp_path_factory.mktemp("accounts")) as trio:
        yield trio


def url(cluster: Trio) -> str:
    return f"nats://{cluster.address('nats-1')}"


async def test_the_system_user_may_ask_of_the_nodes_and_nobody_else(cluster: Trio) -> None:
    secret = str(cluster.state / "secrets" / "engine")
    system = await connect(url(cluster), name="test", login=login(secret, SYSTEM))
    answer = await system.request("$SYS.REQ.SERVER.PING.STATSZ", b"", doing="ask")
    assert json.loads(answer.data)["server"]["name"].startswith("nats-")
    await system.close()
    other = await connect(url(cluster), name="test", login=login(secret))
    with pytest.raises(Unavailable):
        await other.request("$SYS.REQ.SERVER.PING.STATSZ", b"", doing="ask", within=1)
    await other.close()


@pytest.mark.parametrize("stranger", [None, Login("draft", "wrong"), Login(SYSTEM, "wrong")])
async def test_who_does_not_know_the_password_is_refused(
    cluster: Trio, stranger: Login | None
) -> None:
    with pytest.raises(Unavailable, match="refuses us") as refused:
        await connect(url(cluster), name="test", within=2, login=stranger)
    assert "wrong" not in str(refused.value)


def test_the_password_is_in_one_file_that_its_owner_alone_reads(cluster: Trio) -> None:
    secret = cluster.state / "secrets" / "engine"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    known = login(str(secret))
    assert known is not None
    found = [
        path
        for path in cluster.folder.rglob("*")
        if path.is_file() and known.password.encode() in path.read_bytes()
    ]
    assert found == [secret]
    shown = cluster.dctl("infra", "plan", "-o", "json").stdout
    assert known.password not in shown


def test_a_second_apply_keeps_the_password(cluster: Trio) -> None:
    before = (cluster.state / "secrets" / "engine").read_text()
    cluster.dctl("infra", "apply", "-y")
    assert (cluster.state / "secrets" / "engine").read_text() == before
