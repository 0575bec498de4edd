"""Which Blueprint node the key ``leader`` names.

Every node takes writes, because the engine decides; the name is for clients that look for one
address. A node claims it when nobody holds it, or the holder has left the registry or is silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from draft_services.blueprint.process import Filter
from draft_services.blueprint.registry import Registry
from draft_services.blueprint.view import View
from draft_services.engine.errors import Conflict, Unavailable
from draft_services.engine.store import Key, Store

logger = logging.getLogger(__name__)

_RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the registry, as clients are told."""

    id: str
    address: str
    leads: bool


def must_claim(holder: str | None, mine: str, live: Collection[str]) -> bool:
    """Whether the node at `mine` is to name itself, given who is named and who is alive."""
    if holder is None:
        return True
    return holder != mine and holder not in live and mine in live


class Leadership:
    """Keeps the key ``leader``. `encode` and `decode` turn a text into the key's value and back."""

    def __init__(
        self,
        store: Store,
        view: View,
        registry: Registry,
        *,
        service: str,
        address: str,
        key: Key,
        encode: Callable[[str], bytes],
        decode: Callable[[bytes], str],
    ) -> None:
        self.address = address
        self._store = store
        self._view = view
        self._registry = registry
        self._service = Filter(name=service)
        self._key = key
        self._encode = encode
        self._decode = decode

    def nodes(self) -> list[Node]:
        """Every live node, this one included, whether it is registered already or not."""
        ids = {
            process.address: process.pid
            for process in self._registry.processes(self._service)
            if process.connected and process.address
        }
        ids.setdefault(self.address, "self")
        leader = self._holder()
        return [Node(ids[each], each, _url(each) == leader) for each in sorted(ids)]

    @property
    def leads(self) -> bool:
        """Whether the name is ours."""
        return self._holder() == _url(self.address)

    async def renew(self) -> None:
        """Write the name as it is: so it is seen whether anything can be written."""
        if entry := self._view.get(self._key):
            with contextlib.suppress(Conflict):
                await self._store.put(self._key, entry.value, expected=entry.revision)

    async def hold(self) -> None:
        """Claim the name whenever it has to be claimed, for ever."""
        while True:
            try:
                await self._claim()
            except Unavailable as error:
                logger.info("the key 'leader' cannot be written now: %s", error)
                await asyncio.sleep(_RETRY)
                continue
            changes = [
                asyncio.ensure_future(view.changed()) for view in (self._view, self._registry.view)
            ]
            try:
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for change in changes:
                    change.cancel()

    async def _claim(self) -> None:
        live = {
            _url(process.address)
            for process in self._registry.processes(self._service)
            if process.connected
        }
        if not must_claim(self._holder(), _url(self.address), live):
            return
        entry = self._view.get(self._key)
        try:
            revision = await self._store.put(
                self._key,
                self._encode(_url(self.address)),
                expected=entry.revision if entry else 0,
            )
            await self._view.reach(revision)
        except Conflict:
            return  # another node was first

    def _holder(self) -> str | None:
        entry = self._view.get(self._key)
        return self._decode(entry.value) if entry else None


def _url(address: str) -> str:
    return f"http://{address}"
