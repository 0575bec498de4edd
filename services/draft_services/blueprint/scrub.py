"""Looks after what the engine keeps: damage is found, repaired from other copies, and told.

Of several copies, one that cannot be read is made anew from one that can. The only copy there is
cannot be repaired: then nothing of it is served, until a backup was restored or somebody accepted
the loss. Both are written into the stream's own metadata: the engine says only until its next
start that it had to cut a file off, and every node tells it (`Cluster.figures`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from draft_services.blueprint.errors import Damaged, FailedPrecondition
from draft_services.engine import streams, survey
from draft_services.engine.connection import Connection
from draft_services.engine.errors import EngineError, NotFound, Replaced, Unavailable
from draft_services.engine.nodes import Nodes, alone
from draft_services.engine.snapshots import on_disk

logger = logging.getLogger(__name__)

_DETAILS = {"deleted_details": True}  # only who asks for them is told what was lost
_AT_ONCE = 20_000  # messages of a stream that are read before we serve
_AGAIN = 60.0  # seconds until what failed is tried again
_OFTEN = 2.0  # seconds between looks at what is damaged
_NAMED = 5  # messages that are named


class Scrub:
    """Looks at all streams in files, and reads them every so many seconds (0: never). Without those
    in `needed`, nothing is served; those in `live` tell what runs now, which tells it again."""

    def __init__(
        self,
        connection: Connection,
        nodes: Nodes,
        *,
        every: float,
        needed: Collection[str],
        live: Collection[str],
    ) -> None:
        self._connection = connection
        self._nodes = nodes
        self._every = every
        self._needed = needed
        self._live = live
        self._damage: dict[str, str] = {}
        self._missed = False  # what was to be read before we serve could not be
        self._changed = asyncio.Event()
        self._forget = connection.on_reconnect(self._changed.set)

    def check(self) -> None:
        """Raises `Damaged` when what is needed is, and cannot be repaired."""
        for stream in self.damaged:
            raise Damaged(
                f"the engine's data is damaged: {stream}: {self._damage[stream]}. Restore a backup "
                "(dctl backup restore FILE), or go on without it (dctl backup accept-loss)"
            )

    @property
    def damaged(self) -> Collection[str]:
        """Streams that are needed, damaged and cannot be repaired."""
        return self._damage.keys() & self._needed

    async def look(self) -> None:
        """See what the engine and the streams say of damage; small streams are read. Raises
        `Replaced` when something was damaged and is no longer: what was read of it is old."""
        found = {}
        for stored in await on_disk(self._connection):
            with contextlib.suppress(NotFound):  # it goes at this moment
                if words := await self._damage_of(stored.name):
                    found[stored.name] = words
        before, self._damage = self._damage, found
        if before.keys() - found:
            raise Replaced(
                "what was damaged was restored, or is given up: this process begins anew"
            )

    async def run(self, leads: Callable[[], bool]) -> None:
        """Look whenever the engine was away, and often while something is damaged; where this node
        `leads`, read everything now and then. For ever."""
        due = time.monotonic() + (min(_AGAIN, self._every) if self._missed else self._every)
        while True:
            left = max(due - time.monotonic(), 0.0) if self._every else None
            try:
                async with asyncio.timeout(_OFTEN if self._damage else left):
                    await self._changed.wait()
            except TimeoutError:
                pass
            looked = self._changed.is_set() or bool(self._damage)
            self._changed.clear()
            try:
                if looked:
                    await self.look()
                if self._every and time.monotonic() >= due:
                    well = await self._survey_all() if leads() else True
                    due = time.monotonic() + (self._every if well else min(_AGAIN, self._every))
            except Replaced:
                raise
            except EngineError as error:
                logger.info("the engine's data is looked at again after a while: %s", error)
                await asyncio.sleep(min(_AGAIN, self._every or _AGAIN))
                self._changed.set()

    async def accept(self) -> Sequence[str]:
        """Go on without what is lost; returns the streams that were damaged. What is damaged and
        was not cut off by the engine cannot be given up: `FailedPrecondition`."""
        damaged = [*self._damage]
        for stream in damaged:
            if unread := await survey.damaged(self._connection, self._nodes, stream):
                words = ", ".join(map(_words, unread.values()))
                raise FailedPrecondition(
                    f"{stream}: {words}: it is still there, and whoever reads the stream stumbles "
                    "over it. Restore a backup"
                )
            info = await self._connection.api(f"STREAM.INFO.{stream}", _DETAILS)
            await self._write(stream, streams.DAMAGE, "")
            # The engine goes on telling of it until its next start.
            await self._write(stream, streams.ACCEPTED, _cut_off(info["state"]))
        self._changed.set()
        return damaged

    def close(self) -> None:
        """Look no more."""
        self._forget()

    async def _damage_of(self, stream: str) -> str:
        """What is known to be lost of it, by now; "" for nothing."""
        info = await self._connection.api(f"STREAM.INFO.{stream}", _DETAILS)
        words = streams.damage(info)
        if not words and alone(info) and stream not in self._live:
            words = await self._of_the_only_copy(info)
            if words:
                await self._report(stream, words)
        return words

    async def _of_the_only_copy(self, info: Mapping[str, Any]) -> str:
        state, name = info["state"], info["config"]["name"]
        lost = _cut_off(state)
        if lost and lost != (info["config"].get("metadata") or {}).get(streams.ACCEPTED):
            return lost
        if self._every and state["messages"] <= _AT_ONCE:
            try:
                damaged = await survey.damaged(self._connection, self._nodes, name)
            except Unavailable as error:
                # One that others write to may not be counted now: nobody waits for that.
                logger.info("%s is surveyed after a while: %s", name, error)
                self._missed = True
                return ""
            return ", ".join(map(_words, damaged.values()))
        return ""

    async def _survey_all(self) -> bool:
        """Whether all could be read or repaired."""
        well = True
        for stored in await on_disk(self._connection):
            try:
                damaged = await survey.damaged(self._connection, self._nodes, stored.name)
                if damaged:
                    await self._repair(stored.name, damaged)
            except NotFound:
                continue  # it is being replaced
            except EngineError as error:
                logger.info("%s is surveyed again after a while: %s", stored.name, error)
                well = False
        return well

    async def _repair(self, stream: str, damaged: Mapping[str, Sequence[int]]) -> None:
        info = await self._connection.api(f"STREAM.INFO.{stream}")
        whole = [name for name in streams.members(info) if name not in damaged]
        told = ", ".join(f"{node}: {_words(lost)}" for node, lost in damaged.items())
        if not whole:
            await self._give_up(stream, told)
            return
        logger.error("a copy of %s is damaged: %s; it is made anew", stream, told)
        try:
            await survey.rebuild(self._connection, self._nodes, stream, [*damaged])
        except survey.Lost:
            await self._give_up(stream, told)
            raise
        now = datetime.now(UTC).isoformat(timespec="seconds")
        await self._write(stream, streams.REPAIRED, f"{now} {told}")
        logger.warning("%s was made anew from the copies on %s", stream, ", ".join(whole))

    async def _give_up(self, stream: str, words: str) -> None:
        if stream not in self._damage and stream not in self._live:
            await self._report(stream, words)
            self._damage[stream] = words

    async def _report(self, stream: str, words: str) -> None:
        logger.error("%s is damaged, and there is no other copy: %s", stream, words)
        await self._write(stream, streams.DAMAGE, words)

    async def _write(self, stream: str, key: str, words: str) -> None:
        config = (await self._connection.api(f"STREAM.INFO.{stream}"))["config"]
        metadata = {**(config.get("metadata") or {}), key: words}
        if not words:
            metadata.pop(key, None)
        await self._connection.api(f"STREAM.UPDATE.{stream}", {**config, "metadata": metadata})


def _cut_off(state: Mapping[str, Any]) -> str:
    """What the engine had to cut off a file at its start; "" for nothing."""
    lost = state.get("lost")
    return f"{lost['bytes']} bytes of its file could not be read and were cut off" if lost else ""


def _words(lost: Sequence[int]) -> str:
    named = ", ".join(map(str, lost[:_NAMED])) + (", ..." if len(lost) > _NAMED else "")
    return f"{len(lost)} of its messages cannot be read ({named})"
