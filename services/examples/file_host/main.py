"""Files in the engine's object store: a page for people, HTTP for browsers, gRPC for programs."""

import re
from pathlib import Path

from aiohttp import web
from pydantic import BaseModel

from chassis import Chassis
from chassis.errors import InvalidArgument
from chassis.objects import Info, Objects
from chassis.web import Web
from draft_api.examples.file_host.v1 import service_pb2 as pb
from draft_api.examples.file_host.v1 import service_pb2_grpc as rpc

STATIC = Path(__file__).parent / "static"
PREFIX = "/files"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,199}")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
# What somebody stored is never a page of ours: a browser runs nothing of it here.
_AS_FILE = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Accept-Ranges": "bytes",
}


class Settings(BaseModel):
    most: int = 64 << 20
    types: list[str] = ["application/octet-stream"]


class Files:
    """What both faces have in common: which names and types are taken, and how much."""

    def __init__(self, objects: Objects, settings: Settings) -> None:
        self.objects, self._settings = objects, settings

    async def put(self, name, content, type, sha256=""):
        if not _NAME.fullmatch(name):
            raise InvalidArgument("a name is letters, digits and ._- with spaces, at most 200 long")
        plain = type.partition(";")[0].strip().lower() or "application/octet-stream"
        if not any(_takes(taken, plain) for taken in self._settings.types):
            raise InvalidArgument(f"{plain} is not taken here")
        return await self.objects.put(
            name, content, type=plain, most=self._settings.most, sha256=sha256
        )


class FileHost(rpc.FileHostServiceServicer):
    def __init__(self, files: Files) -> None:
        self._files = files

    async def Upload(self, requests, context):
        first = await anext(aiter(requests), None)
        if first is None or first.WhichOneof("part") != "head":
            raise InvalidArgument("part: the head has to come first")

        async def content():
            async for request in requests:
                yield request.content

        head = first.head
        info = await self._files.put(head.name, content(), head.content_type, head.sha256)
        return pb.UploadResponse(file=_file(info))

    async def Download(self, request, context):
        info = await self._files.objects.info(request.name)
        async for piece in self._files.objects.read(info, request.start, request.end or None):
            yield pb.DownloadResponse(content=piece)

    async def List(self, request, context):
        return pb.ListResponse(files=[_file(info) for info in await self._files.objects.list()])

    async def Delete(self, request, context):
        await self._files.objects.delete(request.name)
        return pb.DeleteResponse()


class Pages:
    """The same for browsers, below /files/."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def add_to(self, application: web.Application) -> None:
        one = PREFIX + "/api/{name}"
        application.router.add_get(f"{PREFIX}/", self.page)
        application.router.add_static(f"{PREFIX}/static", STATIC)
        application.router.add_get(f"{PREFIX}/api/", self.list)
        application.router.add_put(one, self.put)
        application.router.add_get(one, self.get)
        application.router.add_delete(one, self.delete)

    async def page(self, request):
        return web.FileResponse(STATIC / "index.html")

    async def list(self, request):
        found = await self._files.objects.list()
        return web.json_response({"files": [_known(info) for info in found]})

    async def put(self, request):
        info = await self._files.put(
            request.match_info["name"],
            request.content.iter_any(),
            request.headers.get("Content-Type", ""),
            request.headers.get("X-Content-SHA256", ""),
        )
        return web.json_response(_known(info), status=201)

    async def get(self, request):
        info = await self._files.objects.info(request.match_info["name"])
        tag = f'"{info.sha256}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        start, end, status = _asked(request.headers.get("Range", ""), info.size)
        headers = {**_AS_FILE, "ETag": tag, "Content-Type": info.type}
        if status == 416:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{info.size}"})
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{info.size}"
        response = web.StreamResponse(status=status, headers=headers)
        response.content_length = end - start
        await response.prepare(request)
        async for piece in self._files.objects.read(info, start, end):
            await response.write(piece)
        await response.write_eof()
        return response

    async def delete(self, request):
        await self._files.objects.delete(request.match_info["name"])
        return web.Response(status=204)


def _asked(text: str, size: int) -> tuple[int, int, int]:
    """From which byte to before which, and the status; a range that we do not know is no range."""
    match = _RANGE.fullmatch(text)
    if match is None or not (match[1] or match[2]):
        return 0, size, 200
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(int(match[2] or size) + 1, size)
    return (start, end, 206) if start < end else (0, 0, 416)


def _takes(taken: str, type: str) -> bool:
    return type.startswith(taken[:-1]) if taken.endswith("/*") else type == taken


def _file(info: Info) -> pb.File:
    return pb.File(name=info.name, content_type=info.type, size=info.size, sha256=info.sha256)


def _known(info: Info) -> dict[str, object]:
    return {
        "name": info.name,
        "type": info.type,
        "size": info.size,
        "sha256": info.sha256,
        "stored": info.stored,
    }


def make(env=None, **options) -> tuple[Chassis, Web]:
    """The service and its web side; tests give `config` and `env`."""
    app = Chassis(settings=Settings, **options)
    pages = Web(app)
    files = Files(Objects(app, env=env), app.settings)
    Pages(files).add_to(pages.application)
    app.add_servicer(FileHost(files))
    app.route(prefix="/examples.file_host.v1.FileHostService/")
    return app, pages


if __name__ == "__main__":
    make()[0].run()
