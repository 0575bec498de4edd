"""Large objects in the engine: a bucket for the service, which it has to itself.

    app = Chassis()
    files = Objects(app)

    info = await files.put("a.png", chunks, type="image/png", most=64 << 20)   # an async iterator
    async for piece in files.read(info): ...
    async for piece in files.read(info, 100, 200): ...      # from, and up to

The spec says `objects: true` of the service; Blueprint then makes the bucket, and dctl tells the
service where the engine is, and gives it a user of it that may use such buckets and nothing else.
An object is there when all of it is, and a reader of one that is replaced meanwhile is told so.
Needs: pip install "draft[objects]".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chassis.errors import ConfigError, InvalidArgument, NotFound, ResourceExhausted, Unavailable
from chassis.tls import host_name

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from chassis.app import Chassis

log = logging.getLogger(__name__)

USER = "objects"
CHUNK = 256 << 10
"""Bytes of a piece of an object, as it is kept."""

_AT_ONCE = 4  # pieces that are on their way to the engine
_TIMEOUT = 10.0
_FORSAKEN = timedelta(hours=6)  # longer than any upload takes
_SOON = 2.0  # for an answer to whether all is well
_CLOSE = 2.0
_FULL = (10047, 10077, 10122)  # codes of JetStream for "no room", of the engine and of the bucket
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class Info:
    """What is known of an object. `sha256` is of all of it, in hexadecimal digits."""

    name: str
    size: int
    sha256: str
    type: str
    stored: str
    id: str
    chunk: int = CHUNK


class Objects:
    """The bucket of one service, bound to its life and its health."""

    def __init__(self, app: Chassis[Any], *, env: Mapping[str, str] | None = None) -> None:
        env = os.environ if env is None else env
        self._servers = [url for url in env.get("DRAFT_OBJECTS", "").split(",") if url]
        if not self._servers:
            raise ConfigError(
                "DRAFT_OBJECTS is not set: say `objects: true` of the service in the spec"
            )
        self._bucket = env.get("DRAFT_OBJECTS_BUCKET") or app.name
        self._file = env.get("DRAFT_OBJECTS_FILE", "")
        self._app = app
        self._client: Client | None = None
        self._opening = asyncio.Lock()
        app.on_stop(self._close)
        app.health_check(self._check)

    async def put(
        self,
        name: str,
        content: AsyncIterator[bytes],
        *,
        type: str = "application/octet-stream",
        most: int | None = None,
        sha256: str = "",
    ) -> Info:
        """Keep what `content` gives under `name`, in the place of what was there. Raises
        ResourceExhausted when it is more than `most` bytes or there is no room, InvalidArgument
        when it is not what has that `sha256`; then what was there is still there."""
        _check_name(name)
        id_, digest, size, number = secrets.token_hex(12), hashlib.sha256(), 0, 0
        with _translated(f'"{name}" cannot be kept'):
            js = await self._stream()
            sending: set[asyncio.Task[Any]] = set()
            try:
                async for piece in _pieces(content):
                    size += len(piece)
                    if most is not None and size > most:
                        raise ResourceExhausted(f'"{name}" is larger than {most} bytes')
                    digest.update(piece)
                    while len(sending) >= _AT_ONCE:
                        await _settle(sending, asyncio.FIRST_COMPLETED)
                    sent = js.publish(self._chunk(id_, number), piece, timeout=_TIMEOUT)
                    sending.add(asyncio.create_task(sent))
                    number += 1
                await _settle(sending, asyncio.ALL_COMPLETED)
                found = digest.hexdigest()
                if sha256 and sha256.lower() != found:
                    raise InvalidArgument(f'"{name}" is not what was meant: its SHA-256 is {found}')
                now = datetime.now(UTC).isoformat(timespec="seconds")
                info = Info(name, size, found, type, now, id_)
                before = await self._find(js, name)
                text = json.dumps(asdict(info)).encode()
                rollup = {"Nats-Rollup": "sub"}
                await js.publish(self._meta(name), text, headers=rollup, timeout=_TIMEOUT)
            except BaseException:
                await asyncio.shield(self._abandon(js, id_, sending))
                raise
            if before is not None:
                await self._purge(js, f"{self._chunks(before.id)}.>")
            return info

    async def _abandon(
        self, js: JetStreamContext, id_: str, sending: set[asyncio.Task[Any]]
    ) -> None:
        """Remove the pieces of what will not be whole: nobody would ever ask for them. Those that
        are on their way have to be there first."""
        await asyncio.gather(*sending, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self._purge(js, f"{self._chunks(id_)}.>")

    async def info(self, name: str) -> Info:
        """What is known of an object. Raises NotFound."""
        _check_name(name)
        with _translated(f'"{name}" cannot be read'):
            found = await self._find(await self._stream(), name)
        if found is None:
            raise NotFound(f'there is no "{name}"')
        return found

    async def read(
        self, info: Info, start: int = 0, end: int | None = None
    ) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, piece by piece. What is read whole is compared with
        its digest. Raises Unavailable when it is gone meanwhile, or is not what was stored."""
        end = info.size if end is None else min(end, info.size)
        digest = hashlib.sha256()
        for number in range(start // info.chunk, -(-end // info.chunk)):
            with _translated(f'"{info.name}" cannot be read'):
                piece = await self._piece(info, number)
            digest.update(piece)
            at = number * info.chunk
            yield piece[max(0, start - at) : end - at]
        if start == 0 and end == info.size and digest.hexdigest() != info.sha256:
            raise Unavailable(f'"{info.name}" is damaged: it is not what was stored')

    async def delete(self, name: str) -> None:
        """Remove an object; one that is not there is removed already."""
        _check_name(name)
        with _translated(f'"{name}" cannot be removed'):
            js = await self._stream()
            if found := await self._find(js, name):
                await self._purge(js, self._meta(name))
                await self._purge(js, f"{self._chunks(found.id)}.>")

    async def list(self) -> list[Info]:
        """All objects, by name."""
        with _translated("objects cannot be listed"):
            js = await self._stream()
            told = await js.stream_info(self._name, subjects_filter=self._meta_subjects)
            found = [await self._read_meta(js, subject) for subject in told.state.subjects or {}]
        return sorted(filter(None, found), key=lambda info: info.name)

    # Where things are in the stream

    @property
    def _name(self) -> str:
        return f"OBJ_{self._bucket}"

    @property
    def _meta_subjects(self) -> str:
        return f"$O.{self._bucket}.M.>"

    def _meta(self, name: str) -> str:
        return f"$O.{self._bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"

    def _chunks(self, id_: str) -> str:
        return f"$O.{self._bucket}.C.{id_}"

    def _chunk(self, id_: str, number: int) -> str:
        return f"{self._chunks(id_)}.{number}"

    async def _find(self, js: JetStreamContext, name: str) -> Info | None:
        return await self._read_meta(js, self._meta(name))

    async def _read_meta(self, js: JetStreamContext, subject: str) -> Info | None:
        from nats.js.errors import NotFoundError

        try:
            message = await js.get_last_msg(self._name, subject, direct=True)
        except NotFoundError:
            return None
        return Info(**json.loads(message.data or b"{}"))

    async def _piece(self, info: Info, number: int) -> bytes:
        from nats.js.errors import NotFoundError

        js = await self._stream()
        try:
            message = await js.get_last_msg(self._name, self._chunk(info.id, number), direct=True)
        except NotFoundError:
            raise Unavailable(f'"{info.name}" was replaced or removed while it was read') from None
        return message.data or b""

    async def _purge(self, js: JetStreamContext, subject: str) -> None:
        await js.purge_stream(self._name, subject=subject)

    # The engine

    async def _stream(self) -> JetStreamContext:
        """The way to the bucket."""
        async with self._opening:
            if self._client is None:
                client = await self._connect()
                try:
                    await self._there(client.jetstream(timeout=_TIMEOUT))
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            if not self._client.is_connected:
                # It would keep what is written, and write it when nobody expects it any more.
                raise Unavailable("the engine cannot be reached")
            return self._client.jetstream(timeout=_TIMEOUT)

    async def _connect(self) -> Client:
        import nats

        async def failed(error: Exception) -> None:
            log.debug("the engine: %s", error)

        async def lost() -> None:
            if self._client is not None:  # else it is we who leave
                log.warning("the engine is away")

        async def found() -> None:
            log.info("the engine is back")

        tls = self._app.config.tls
        options: dict[str, Any] = {}
        if tls:
            options = {"tls": tls.context(), "tls_hostname": host_name("nats")}
        if self._file:
            options |= {"user": USER, "password": _password(Path(self._file))}
        return await nats.connect(
            self._servers,
            name=f"{self._app.name} (objects)",
            # Its user may hear nothing else.
            inbox_prefix=b"_OBJECTS",
            connect_timeout=2,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.2,
            ping_interval=3,
            error_cb=failed,
            disconnected_cb=lost,
            reconnected_cb=found,
            **options,
        )

    async def _there(self, js: JetStreamContext) -> None:
        """Raises while the bucket is not there: Blueprint makes it."""
        from nats.js.errors import NotFoundError

        try:
            await js.stream_info(self._name)
        except NotFoundError:
            raise Unavailable("the bucket is not there yet: Blueprint makes it") from None
        with contextlib.suppress(Exception):  # the next start finds what this one leaves
            await self._sweep(js)

    async def _sweep(self, js: JetStreamContext) -> None:
        """Remove the pieces of uploads whose process was killed. Others may be uploading now."""
        told = await js.stream_info(self._name, subjects_filter=f"$O.{self._bucket}.>")
        subjects = told.state.subjects or {}
        prefix = f"{self._chunks('')}"
        there = {s.removeprefix(prefix).partition(".")[0] for s in subjects if s.startswith(prefix)}
        metas = [s for s in subjects if not s.startswith(prefix)]
        known = {info.id for s in metas if (info := await self._read_meta(js, s))}
        for id_ in there - known:
            first = await js.get_last_msg(self._name, self._chunk(id_, 0), direct=True)
            if first.time and datetime.now(UTC) - first.time > _FORSAKEN:
                await self._purge(js, f"{self._chunks(id_)}.>")
                log.info("an upload that never ended is removed", extra={"id": id_})

    async def _check(self) -> None:
        with _translated("objects cannot be kept"):
            js = await self._stream()
            async with asyncio.timeout(_SOON):
                await js.stream_info(self._name)

    async def _close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            with contextlib.suppress(TimeoutError):  # one that is looking for the engine takes long
                async with asyncio.timeout(_CLOSE):
                    await client.close()


async def _pieces(content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `CHUNK`; the last one may be shorter."""
    held = bytearray()
    async for some in content:
        held += some
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    if held:
        yield bytes(held)


async def _settle(tasks: set[asyncio.Task[Any]], when: str) -> None:
    """Wait for some or all of them, and raise what failed."""
    if not tasks:
        return
    done, _ = await asyncio.wait(tasks, return_when=when)
    tasks -= done
    failed = [error for task in done if (error := task.exception())]
    if failed:
        raise failed[0]


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument("a name is 1 to 255 characters, none of them a control character")


def _password(file: Path) -> str:
    try:
        found = re.search(r'"(\S+)"', file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"DRAFT_OBJECTS_FILE: {file} cannot be read: {error.strerror}") from None
    if found is None:
        raise ConfigError(f"DRAFT_OBJECTS_FILE: {file} holds no password: dctl infra apply")
    return found[1]


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """The one place where errors of the engine's client become ours."""
    import nats.errors
    from nats.js.errors import APIError

    try:
        yield
    except APIError as error:
        words = f"{what}: {error.description or error}"
        if error.err_code in _FULL:
            raise ResourceExhausted(words) from error
        raise Unavailable(words) from error
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise Unavailable(f"{what}: {error or type(error).__name__}") from error
