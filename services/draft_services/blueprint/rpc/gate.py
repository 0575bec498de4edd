"""What each call passes: who makes it is known, or it is refused; and what it wrote is noted."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from chassis.proof import HEADER
from draft_services.blueprint.access import Access, Caller
from draft_services.blueprint.errors import Denied, Unauthenticated
from draft_services.blueprint.rpc.status import answering
from draft_services.engine.store import Key

Context = grpc.aio.ServicerContext[Any, Any]

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
            proof = next((v for k, v in context.invocation_metadata() or () if k == HEADER), "")
            text = proof if isinstance(proof, str) else proof.decode("utf-8", "replace")
            try:
                caller = await self._access.admit(text, _host(context))
                self._whole()
                yield caller
            except (Denied, Unauthenticated) as error:
                self.note_denial(error, context)
                raise

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


def _host(context: Context) -> str:
    """Where a caller is, whatever port it calls from: "ipv4:10.0.0.3:52011" is 10.0.0.3."""
    return str(context.peer()).partition(":")[2].rpartition(":")[0]
