"""The example file_host: uploads with limits, downloads in parts, and a page, on a real engine."""

import asyncio
import hashlib
import importlib.util
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from draft_api.examples.file_host.v1 import service_pb2 as pb
from draft_api.examples.file_host.v1 import service_pb2_grpc as rpc

from chassis.testing import running, settings
from tests.support.buckets import keep_bucket
from tests.support.nats import Nats

MAIN = Path(__file__).parents[2] / "services" / "examples" / "file_host" / "main.py"
CONTENT = bytes(range(256)) * 3000
MOST = 1_000_000


@pytest.fixture(scope="module")
def main() -> Any:
    spec = importlib.util.spec_from_file_location("file_host_main", MAIN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Nats]:
    server = Nats(tmp_path / "engine")
    server.start()
    asyncio.run(keep_bucket(server.url, "file-host", 64 << 20))
    yield server
    server.kill()


class Host:
    """A running file_host, and clients of both of its sides."""

    def __init__(self, service: Any, page: str, session: aiohttp.ClientSession) -> None:
        self.grpc = service.stub(rpc.FileHostServiceStub)
        self.page = page
        self.session = session

    async def put(self, name: str, content: Any, **headers: str) -> tuple[int, Any]:
        given = {
            "content-type": "image/png",
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        url = f"{self.page}api/{name}"
        async with self.session.put(url, data=content, headers=given) as answer:
            return answer.status, await answer.json()

    async def get(self, name: str, **headers: str) -> tuple[int, bytes, Any]:
        given = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.get(f"{self.page}api/{name}", headers=given) as answer:
            return answer.status, await answer.read(), answer.headers


@pytest.fixture
async def host(main: Any, engine: Nats) -> AsyncIterator[Host]:
    config = {**settings("file-host"), "most": MOST, "types": ["image/*", "text/plain"]}
    app, pages = main.make(config=config, env={"DRAFT_OBJECTS": engine.url})
    async with running(app) as service, aiohttp.ClientSession() as session:
        yield Host(service, f"http://{pages.address}/files/", session)


async def test_what_is_uploaded_over_http_is_read_over_both_and_the_other_way_round(
    host: Host,
) -> None:
    status, made = await host.put("a.png", CONTENT)
    assert (status, made["size"]) == (201, len(CONTENT))
    assert made["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    pieces = [piece.content async for piece in host.grpc.Download(pb.DownloadRequest(name="a.png"))]
    assert b"".join(pieces) == CONTENT

    async def upload() -> AsyncIterator[pb.UploadRequest]:
        head = pb.File(name="b.txt", content_type="text/plain")
        yield pb.UploadRequest(head=head)
        for start in range(0, len(CONTENT), 50_000):
            yield pb.UploadRequest(content=CONTENT[start : start + 50_000])

    answer = await host.grpc.Upload(upload(), timeout=20)
    assert answer.file.size == len(CONTENT)
    status, content, headers = await host.get("b.txt")
    assert (status, content) == (200, CONTENT)
    assert headers["content-type"] == "text/plain"
    listed = await host.grpc.List(pb.ListRequest(), timeout=10)
    assert [file.name for file in listed.files] == ["a.png", "b.txt"]


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=300000-", 300_000, None), ("bytes=-5", -5, None),
     ("bytes=10-99999999", 10, None)],
)  # fmt: skip
async def test_a_part_is_answered_with_where_it_stands(
    host: Host, asked: str, start: int, end: int | None
) -> None:
    await host.put("a.png", CONTENT)
    status, content, headers = await host.get("a.png", range=asked)
    assert (status, content) == (206, CONTENT[start:end])
    assert headers["content-range"].endswith(f"/{len(CONTENT)}")


async def test_a_part_that_is_not_there_and_what_is_known_already_are_told(host: Host) -> None:
    await host.put("a.png", CONTENT)
    status, _, headers = await host.get("a.png", range=f"bytes={len(CONTENT)}-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(CONTENT)}")
    _, _, headers = await host.get("a.png")
    assert (await host.get("a.png", if_none_match=headers["etag"]))[0] == 304


async def test_what_is_too_large_or_of_no_type_that_is_taken_is_refused(host: Host) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield CONTENT

    assert (await host.put("a.png", endless()))[0] == 413
    status, told = await host.put("a.html", CONTENT, content_type="text/html")
    assert (status, told["code"]) == (400, grpc.StatusCode.INVALID_ARGUMENT.value[0])
    assert (await host.put("a.png", CONTENT, x_content_sha256="0" * 64))[0] == 400
    assert (await host.put(".hidden", CONTENT))[0] == 400
    assert (await host.get("a.png"))[0] == 404

    async def upload() -> AsyncIterator[pb.UploadRequest]:
        yield pb.UploadRequest(head=pb.File(name="a.png", content_type="image/png"))
        for _ in range(3):
            yield pb.UploadRequest(content=CONTENT)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await host.grpc.Upload(upload(), timeout=20)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_browser_runs_nothing_of_what_somebody_stored(host: Host) -> None:
    await host.put("a.png", b"<script>alert(1)</script>")
    _, _, headers = await host.get("a.png")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]


async def test_the_page_and_its_files_are_served_and_nothing_beside_them(host: Host) -> None:
    for path, words in (
        ("", "<title>Files"),
        ("static/app.js", "fetch("),
        ("static/style.css", "{"),
    ):
        async with host.session.get(host.page + path) as answer:
            assert answer.status == 200
            assert words in await answer.text()
    async with host.session.get(host.page + "static/..%2fmain.py") as answer:
        assert answer.status in (403, 404)


async def test_an_error_of_the_code_is_told_as_one_and_no_more(
    host: Host, main: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: Any) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr("chassis.objects.Objects.list", fail)
    async with host.session.get(host.page + "api/") as answer:
        assert answer.status == 500
        assert "hunter2" not in await answer.text()
