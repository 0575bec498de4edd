"""What each call passes: who makes it is known, or it is refused; and what it wrote is noted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from chassis.proof import HEADER
from draft_services.blueprint.access import Access, Caller
from draft_services.blueprint.errors import Denied, Unauthenticated
from draft_services.blueprint.rpc.status import TRANSLATED, answering
from draft_services.engine.store import Key

Context = grpc.aio.ServicerContext[Any, Any]

_AGAIN = 30.0  # seconds between two looks at who watches

audit = logging.getLogger("draft.audit")


class Gate:
    """The way in. `whole` raises when what would be told is not. `noted`: writes, and what was
    denied, are told to the log `draft.audit`; values never."""

    def __init__(
        self, access: Access, *, noted: bool, whole: Callable[[], None] = lambda: None
    ) -> None:
        self._access = access
        self._whole = whole
        self._noted = noted

    @asynccontextmanager
    async def entered(self, context: Context) -> AsyncIterator[Caller]:
        """Within this, one of our errors ends the call with its status and its words."""
        async with answering(context):
            try:
                caller = await self._access.admit(_proof(context), _host(context))
                self._whole()
                yield caller
            except (Denied, Unauthenticated) as error:
                self.note_denial(error, context)
                raise

    @asynccontextmanager
    async def watching(self, context: Context) -> AsyncIterator[Caller]:
        """The same for a call that lasts: it ends once nobody would be let in with its proof."""
        async with self.entered(context) as caller:
            own = asyncio.current_task()
            assert own is not None
            refused: list[Exception] = []
            looking = asyncio.create_task(self._look_again(_proof(context), refused, own))
            try:
                yield caller
            except asyncio.CancelledError:
                if not refused:
                    raise
                own.uncancel()
                raise refused[0] from None
            finally:
                looking.cancel()

    async def _look_again(
        self, proof: str, refused: list[Exception], watch: asyncio.Task[Any]
    ) -> None:
        while not refused:
            await asyncio.sleep(_AGAIN)
            try:
                await self._access.identify(proof)
            except (Denied, Unauthenticated) as error:
                refused.append(error)
                watch.cancel()
            except TRANSLATED:
                continue  # it cannot be told now

    def spend(self, caller: Caller, context: Context, calls: int) -> None:
        """Count a call for so many more; raises as `Access.admit` does."""
        self._access.spend(caller, _host(context), calls)

    async def identify(self, proof: str) -> Caller:
        """Who proves something, for somebody else who is called."""
        return await self._access.identify(proof)

    def note_denial(self, error: Exception, context: Context) -> None:
        """Say in the log what was denied, and to whom."""
        if self._noted and isinstance(error, Denied | Unauthenticated):
            audit.warning("denied: %s", error, extra={"from": context.peer()})

    def note(self, caller: Caller, context: Context, what: str, key: Key, revision: int) -> None:
        """Say in the log who wrote what, when and from where."""
        if self._noted:
            audit.info(
                what,
                extra={
                    "key": key.name,
                    "who": caller.name,
                    "pid": caller.pid,
                    "from": context.peer(),
                    "type": key.kind,
                    "revision": revision,
                },
            )


def _proof(context: Context) -> str:
    proof = next((v for k, v in context.invocation_metadata() or () if k == HEADER), "")
    return proof if isinstance(proof, str) else proof.decode("utf-8", "replace")


def _host(context: Context) -> str:
    """Where a caller is, whatever port it calls from: "ipv4:10.0.0.3:52011" is 10.0.0.3."""
    return str(context.peer()).partition(":")[2].rpartition(":")[0]
