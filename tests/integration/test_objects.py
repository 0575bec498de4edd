"""`chassis.objects` on a real engine, whose users are as dctl makes them."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from draft_services.engine.connection import Login
from nats.js.api import StreamSource
from nats.js.errors import APIError

from chassis import Chassis
from chassis.errors import InvalidArgument, NotFound, ResourceExhausted, Unavailable
from chassis.health import ask_health
from chassis.objects import CHUNK, Objects
from chassis.testing import running, settings
from dctl.engine.catalogue.core import objects_user
from tests.support.buckets import keep_bucket
from tests.support.nats import Nats
from tests.support.waiting import until, until_answered

OWNER = Login("draft", "whole")
LARGE = bytes(range(256)) * (3 * CHUNK // 256) + b"the end"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path / "engine")
    server.extra = (
        'engine: "whole"\nobjects: "own"\n'
        "authorization { users: [{user: draft, password: $engine},"
        f" {objects_user(['files', 'others'])}] }}\n"
    )
    server.start()
    asyncio.run(keep_bucket(server.url, "files", 8 << 20, OWNER))
    yield server
    server.kill()


@pytest.fixture
def bucket(engine: Nats, tmp_path: Path) -> tuple[Chassis[Any], Objects]:
    secret = tmp_path / "objects"
    secret.write_text('objects: "own"\n')
    app = Chassis(config=settings("files"))
    env = {"DRAFT_OBJECTS": engine.url, "DRAFT_OBJECTS_FILE": str(secret)}
    return app, Objects(app, env=env)


async def given(content: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def whole(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def kept(engine: Nats) -> int:
    """How many messages the bucket's stream has."""
    client = await nats.connect(engine.url, user="draft", password="whole")
    try:
        return int((await client.jetstream().stream_info("OBJ_files")).state.messages)
    finally:
        await client.close()


async def test_what_is_put_is_read_whole_and_in_part(bucket: tuple[Chassis[Any], Objects]) -> None:
    app, files = bucket
    async with running(app):
        made = await files.put("a b/ü.bin", given(LARGE), type="image/png")
        found = await files.info("a b/ü.bin")
        assert (found.size, found.type) == (len(LARGE), "image/png")
        assert found == made
        assert found.sha256 == hashlib.sha256(LARGE).hexdigest()
        assert await whole(files.read(found)) == LARGE
        for start, end in ((0, 1), (CHUNK - 1, CHUNK + 1), (5, 5), (2 * CHUNK, None), (7, 1 << 40)):
            assert await whole(files.read(found, start, end)) == LARGE[start:end]
        nothing = await files.put("nothing", given(b""))
        assert await whole(files.read(nothing)) == b""
        assert [info.name for info in await files.list()] == ["a b/ü.bin", "nothing"]


async def test_an_object_is_replaced_and_removed_with_all_of_its_pieces(
    bucket: tuple[Chassis[Any], Objects], engine: Nats
) -> None:
    app, files = bucket
    async with running(app):
        before = await files.put("a", given(LARGE))
        await files.put("a", given(b"new"))
        assert await whole(files.read(await files.info("a"))) == b"new"
        assert await kept(engine) == 2
        with pytest.raises(Unavailable, match="replaced or removed while it was read"):
            await whole(files.read(before))
        for _ in range(2):
            await files.delete("a")
        assert await kept(engine) == 0
        with pytest.raises(NotFound):
            await files.info("a")


async def test_what_is_too_large_or_another_thing_leaves_what_was_there(
    bucket: tuple[Chassis[Any], Objects], engine: Nats
) -> None:
    app, files = bucket
    async with running(app):
        await files.put("a", given(b"old"))
        with pytest.raises(ResourceExhausted, match="larger than"):
            await files.put("a", given(LARGE), most=len(LARGE) - 1)
        with pytest.raises(InvalidArgument, match="SHA-256"):
            await files.put("a", given(LARGE), sha256="0" * 64)
        with pytest.raises(ResourceExhausted):  # the bucket itself
            await files.put("a", given(LARGE * 20))
        assert await files.put(
            "a", given(b"old"), most=3, sha256=hashlib.sha256(b"old").hexdigest()
        )
        assert await whole(files.read(await files.info("a"))) == b"old"
        assert await kept(engine) == 2


async def test_an_upload_that_ends_half_way_leaves_nothing(
    bucket: tuple[Chassis[Any], Objects], engine: Nats
) -> None:
    app, files = bucket
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield LARGE
        begun.set()
        await asyncio.Event().wait()

    async with running(app):
        upload = asyncio.create_task(files.put("a", endless()))
        await begun.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert await kept(engine) == 0
        assert await files.list() == []


async def test_what_a_killed_upload_left_is_removed_once_it_is_old(
    bucket: tuple[Chassis[Any], Objects], engine: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, files = bucket
    async with running(app):
        await files.put("a", given(LARGE))
        client = await nats.connect(engine.url, user="draft", password="whole")
        for number in range(2):  # what is there when a process ends in the middle
            await client.jetstream().publish(f"$O.files.C.lost.{number}", b"piece")
        await client.close()
    before = await kept(engine)
    async with running(app):
        assert await kept(engine) == before  # somebody may be at it
    monkeypatch.setattr("chassis.objects._FORSAKEN", timedelta())
    async with running(app):
        assert await kept(engine) == before - 2
        assert await whole(files.read(await files.info("a"))) == LARGE


async def test_a_bucket_follows_what_it_may_have(
    bucket: tuple[Chassis[Any], Objects], engine: Nats
) -> None:
    app, files = bucket
    async with running(app):
        await files.put("a", given(LARGE))
        for most, fits in ((16 << 20, True), (1 << 20, False)):
            await keep_bucket(engine.url, "files", most, OWNER)
            if fits:
                assert await files.put("b", given(LARGE * 12))
                await files.delete("b")
            else:
                with pytest.raises(ResourceExhausted):
                    await files.put("b", given(LARGE * 2))
            assert await whole(files.read(await files.info("a"))) == LARGE


async def test_their_user_may_use_the_buckets_and_nothing_else(engine: Nats) -> None:
    owner = await nats.connect(engine.url, user="draft", password="whole")
    await owner.jetstream().add_stream(name="KV_keys", subjects=["keys.>"])
    await owner.jetstream().publish("keys.a", b"secret")
    refused: list[str] = []

    async def note(error: Exception) -> None:
        refused.append(str(error))

    user = await nats.connect(
        engine.url, user="objects", password="own", inbox_prefix=b"_OBJECTS", error_cb=note
    )
    js = user.jetstream(timeout=0.5)
    for forbidden in (
        js.get_last_msg("KV_keys", "keys.a"),
        js.stream_info("KV_keys"),
        js.delete_stream("KV_keys"),
        js.publish("keys.a", b"mine"),
        js.add_stream(name="OBJ_mine", subjects=["mine"]),
        # It would have all that is in the other one.
        js.add_stream(name="OBJ_others", mirror=StreamSource(name="KV_keys")),
        js.update_stream(name="OBJ_files", sources=[StreamSource(name="KV_keys")]),
    ):
        with pytest.raises((nats.errors.Error, APIError)):
            await forbidden
    await user.subscribe("_INBOX.>")
    await user.flush()
    await until(lambda: sum("permissions violation" in words for words in refused) == 8)
    await user.close()
    await owner.close()


async def test_health_follows_the_engine(
    bucket: tuple[Chassis[Any], Objects], engine: Nats
) -> None:
    app, files = bucket
    async with running(app) as service:

        async def why() -> str:
            return await ask_health(service.channel, within=5)

        async def well() -> bool:
            return await why() == ""

        await files.put("a", given(LARGE))
        engine.kill()
        assert "the engine cannot be reached" in await until_answered(why, within=20)
        engine.start()
        await until_answered(well, within=20)
        assert await whole(files.read(await files.info("a"))) == LARGE
