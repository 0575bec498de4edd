"""Plain HTTP beside gRPC, on a port of its own: for browsers, and for what is no message.

    web = Web(app)                                     # of the port `http` in the spec
    web.application.router.add_get("/files/{name}", read)

It speaks aiohttp. What a handler raises of `chassis.errors` becomes its status, with the words as
JSON, as the ingress answers for gRPC. The spec says which requests come here:

    ports: {http: 0}
    routes: [{prefix: /files/, http2: false, port: http}]

Needs: pip install "draft[web]".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from aiohttp import web

from chassis.app import Chassis
from chassis.clients import Address
from chassis.errors import BindError, RpcError

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUSES = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 413,
    grpc.StatusCode.UNAVAILABLE: 503,
}


class Web:
    """An HTTP server that lives as long as the service. `port` is the name of a port in the spec;
    without dctl any free port will do, which `address` tells."""

    def __init__(self, app: Chassis[Any], *, port: str = "http") -> None:
        self.application = web.Application(middlewares=[_answering])
        self._app = app
        self._wanted = int(os.environ.get(f"DRAFT_PORT_{port.upper().replace('-', '_')}") or 0)
        self._runner: web.AppRunner | None = None
        self._bound: Address | None = None
        app.on_start(self._open)
        app.on_stop(self._close)

    @property
    def address(self) -> Address:
        """Where it listens; known once the service runs."""
        assert self._bound is not None
        return self._bound

    async def _open(self) -> None:
        grace = self._app.config.platform.draft.grace
        self._runner = web.AppRunner(
            self.application, handle_signals=False, access_log=None, shutdown_timeout=grace
        )
        await self._runner.setup()
        wanted = Address(self._app.config.bind(0).host, self._wanted)
        site = web.TCPSite(self._runner, wanted.host, wanted.port)
        try:
            await site.start()
        except OSError as error:
            raise BindError(f"HTTP cannot be served at {wanted}: {error.strerror}") from error
        host, port = self._runner.addresses[0][:2]
        self._bound = Address(host, port)
        log.info("HTTP", extra={"address": self._bound})

    async def _close(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()


@web.middleware
async def _answering(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors as statuses; what is not ours is logged, and not told."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except RpcError as error:
        return _said(_STATUSES.get(error.code, 500), error.code, str(error))
    except ConnectionError:  # the caller went away: there is nobody to tell
        raise
    except Exception:
        log.exception("%s %s failed", request.method, request.rel_url.path)
        return _said(500, grpc.StatusCode.INTERNAL, "internal error")


def _said(status: int, code: grpc.StatusCode, words: str) -> web.Response:
    number, _ = code.value
    return web.json_response({"code": number, "message": words}, status=status)
