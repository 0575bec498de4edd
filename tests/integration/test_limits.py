"""As much as there may be: refused in words in time, while removals and reads go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.core.registry.key_value.v1 import service_pb2 as pb
from draft_api.core.registry.key_value.v1.service_pb2_grpc import KeyValueServiceStub
from draft_api.core.registry.service_discovery.v1 import service_pb2 as registry_pb
from draft_services.blueprint.settings import Settings
from google.protobuf.duration_pb2 import Duration

from chassis.clients import connect
from chassis.health import ask_health
from tests.support.blueprint import Node, blueprint_node, value
from tests.support.nats import Nats, running_nats
from tests.support.services import Service, running_blueprint
from tests.support.waiting import until_answered

LARGE = "x" * 4000


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[Nats]:
    with running_nats(tmp_path / "nats") as running:
        yield running


@contextlib.asynccontextmanager
async def limited(nats: Nats, **limits: int) -> AsyncIterator[Node]:
    async with blueprint_node(Settings(nats=nats.url, **limits)) as node:  # type: ignore[arg-type]
        yield node


async def put(keys: Any, key: str, text: str = "", ttl: float = 0) -> int:
    """The revision."""
    request = pb.SetRequest(key=key, value=value(text))
    if ttl:
        request.ttl.CopyFrom(Duration(seconds=int(ttl)))
    return int((await keys.Set(request, timeout=20)).revision)


async def refused(call: Any) -> str:
    """In which words a call is refused for want of room."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, failed.value
    return failed.value.details() or ""


async def delete(keys: Any, key: str) -> None:
    await keys.Delete(pb.DeleteRequest(key=key, value=value()), timeout=20)


async def listed(keys: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    token = ""
    while True:
        page = await keys.List(
            pb.ListRequest(value=value(), prefix=prefix, page_size=500, page_token=token),
            timeout=20,
        )
        found |= page.values
        if not (token := page.next_page_token):
            return found


async def held(node: Node) -> int:
    """How many keys there are; the node's own name among them."""
    return len(await listed(node.keys))


async def test_no_more_keys_than_the_limit_and_a_removal_or_an_expiry_makes_room(
    nats: Nats,
) -> None:
    async with limited(nats, max_keys=10) as node:
        await until_answered(lambda: held(node))  # the node has claimed its name
        room = 10 - await held(node)
        calls = [put(node.keys, f"k{n}") for n in range(room + 5)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert len([each for each in answers if isinstance(each, int)]) == room
        words = await refused(put(node.keys, "one more"))
        assert words.startswith("10 keys are held, and the limit is 10: ")
        assert "core.blueprint.config.max_keys" in words
        await put(node.keys, "k0", "another value")
        await delete(node.keys, "k0")
        await put(node.keys, "for a while", ttl=4)
        assert await refused(put(node.keys, "one more"))

        async def fits() -> bool:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await put(node.keys, "one more")
                return True
            return False

        await until_answered(fits, within=20)


async def test_no_more_bytes_than_the_limit_and_what_shrinks_is_taken(nats: Nats) -> None:
    async with limited(nats, max_bytes=20_000) as node:
        for n in range(4):
            await put(node.keys, f"k{n}", LARGE)
        assert "and the limit is 20,000" in await refused(put(node.keys, "k4", LARGE))
        await put(node.keys, "small", "x")
        await put(node.keys, "k0", "x")
        await put(node.keys, "k4", LARGE)


async def test_what_the_engine_keeps_of_the_past_counts_too_and_goes_with_a_removal(
    nats: Nats,
) -> None:
    async with limited(nats, max_store=100_000) as node:
        await put(node.keys, "lock", "held by me", ttl=60)
        revisions = []
        with contextlib.suppress(grpc.aio.AioRpcError):
            while len(revisions) < 100:
                revisions.append(await put(node.keys, "often", LARGE))
        assert 20 <= len(revisions) < 25
        words = await refused(put(node.keys, "often", LARGE))
        assert "bytes of keys and of what they were before, and the limit is 100,000" in words
        await put(node.keys, "lock", "held by me", ttl=60)
        await delete(node.keys, "often")
        await put(node.keys, "often", LARGE)


async def test_what_another_node_wrote_counts(nats: Nats) -> None:
    async with limited(nats, max_store=100_000) as one, limited(nats, max_store=100_000) as other:
        with contextlib.suppress(grpc.aio.AioRpcError):
            for _ in range(100):
                await put(one.keys, "often", LARGE)
        await listed(other.keys)
        assert await refused(put(other.keys, "another", LARGE))


async def test_no_value_is_larger_than_the_limit(nats: Nats) -> None:
    async with limited(nats, max_value=1000) as node:
        assert "the limit is 1000" in await refused(put(node.keys, "k", LARGE))


async def test_no_more_watchers_than_the_limit_of_keys_and_of_processes_each(nats: Nats) -> None:
    async with limited(nats, max_watchers=2) as node:

        def watch() -> Any:
            return node.keys.Watch(pb.WatchRequest(value=value()))

        def watch_processes() -> Any:
            filter = registry_pb.Filter(all="all")
            return node.registry.Watch(registry_pb.WatchRequest(filter=filter))

        for kind in (watch, watch_processes):
            open_ = [kind(), kind()]
            for call in open_:
                await call.read()
            assert "2 watches are open, and the limit is 2" in await refused(kind().read())
            open_[0].cancel()

            async def fits(kind: Any = kind) -> bool:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    return bool(await kind().read())
                return False

            await until_answered(fits, within=20)


async def fill(keys: Any, prefix: str) -> list[str]:
    """Write until something is refused or not answered; the keys that were acknowledged."""
    acknowledged: list[str] = []

    async def one(key: str) -> bool:
        try:
            await put(keys, key, LARGE)
        except grpc.aio.AioRpcError:
            return False
        acknowledged.append(key)
        return True

    for n in range(0, 10_000, 20):
        if not all(await asyncio.gather(*(one(f"{prefix}{n + m}") for m in range(20)))):
            return acknowledged
    raise AssertionError("it is never full")


async def why(service: Service) -> str:
    async with connect(service.address) as channel:
        return await ask_health(channel, within=5)


async def test_an_engine_at_its_own_limit_is_told_reads_go_on_and_it_is_well_once_raised(
    tmp_path: Path,
) -> None:
    """The guard is left out: this is what it is there for."""
    with (
        running_nats(tmp_path / "nats", max_store="6M") as nats,
        running_blueprint(tmp_path, nats.url) as blueprint,
    ):
        async with connect(blueprint.address) as channel:
            keys: Any = KeyValueServiceStub(channel)
            acknowledged = await fill(keys, "k")
            words = await refused(put(keys, "one more", LARGE))
            assert "raise core.nats.max_store in the spec" in words
            assert set(acknowledged) <= set(await listed(keys, "k"))

            async def told() -> bool:
                return "no more room" in await why(blueprint)

            await until_answered(told, within=20)
            nats.stop()
            nats.max_store = "60M"
            nats.start()

            async def serves() -> bool:
                return not await why(blueprint)

            await until_answered(serves, within=30)
            assert set(acknowledged) <= set(await listed(keys, "k"))
            await put(keys, "one more", LARGE)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = not os.geteuid() and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(folder)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small disk is a tmpfs, which root may mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_a_full_disk_is_told_in_words_reads_go_on_and_nothing_acknowledged_is_lost(
    small_disk: Path, tmp_path: Path
) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4_000_000))
    with (
        running_nats(small_disk / "nats") as nats,
        running_blueprint(tmp_path, nats.url) as blueprint,
    ):
        async with connect(blueprint.address) as channel:
            keys: Any = KeyValueServiceStub(channel)
            acknowledged = await fill(keys, "k")
            assert acknowledged

            async def said() -> str:
                """What one of two writers hears: the other one tries."""
                calls = [put(keys, "more", LARGE), put(keys, "still more", LARGE)]
                failed = await asyncio.gather(*calls, return_exceptions=True)
                exhausted = grpc.StatusCode.RESOURCE_EXHAUSTED
                for error in failed:
                    assert isinstance(error, grpc.aio.AioRpcError)
                    if error.code() is exhausted:
                        return str(error.details())
                return ""

            words = await until_answered(said, within=60)
            assert "the engine answers, but has stored nothing for" in words
            assert "its disk is full or fails" in words
            assert set(acknowledged) <= set(await listed(keys, "k"))

            async def told() -> bool:
                return "its disk is full or fails" in await why(blueprint)

            await until_answered(told, within=20)
            ballast.unlink()
            nats.restart()

            async def serves() -> bool:
                return not await why(blueprint)

            await until_answered(serves, within=30)
            assert set(acknowledged) <= set(await listed(keys, "k"))
            await put(keys, "more", LARGE)
            await delete(keys, acknowledged[0])


async def test_with_a_limit_below_the_disk_the_engine_is_never_in_danger(
    small_disk: Path, tmp_path: Path
) -> None:
    with running_nats(small_disk / "nats") as nats:
        async with limited(nats, max_store=6_000_000) as node:
            acknowledged = await fill(node.keys, "k")
            assert "the limit is 6,000,000" in await refused(put(node.keys, "more", LARGE))
            for key in acknowledged[:100]:
                await delete(node.keys, key)
            await put(node.keys, "more", LARGE)
            assert set(acknowledged[100:]) <= set(await listed(node.keys, "k"))
        assert "no space left" not in nats.log()
