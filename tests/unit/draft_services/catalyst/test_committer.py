"""Group commit: one order, one answer for each event, outages waited out for so long."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from draft_services.catalyst import committer
from draft_services.catalyst.committer import Committer, Outcome
from draft_services.catalyst.errors import CatalystError, LogFull, StoresNothing, Unavailable
from draft_services.catalyst.events import Event


def event(id: str, size: int = 1) -> Event:
    return Event(id, "/s", "1.0", "t", b"x" * size)


class FakeLog:
    """Keeps what is appended; `failures` are raised one after the other before anything else."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.batches: list[int] = []
        self.failures: list[CatalystError] = []
        self.refused: dict[str, CatalystError] = {}
        self.open = asyncio.Event()
        self.open.set()

    async def append(self, batch: Sequence[Event]) -> list[int]:
        await self.open.wait()
        self.batches.append(len(batch))
        if self.failures:
            raise self.failures.pop(0)
        for each in batch:
            if each.id in self.refused:
                raise self.refused[each.id]
        self.stored += [each.id for each in batch if each.id not in self.stored]
        return [self.stored.index(each.id) + 1 for each in batch]


@asynccontextmanager
async def running(log: FakeLog, patience: float = 10.0) -> AsyncIterator[Committer]:
    made = Committer(log.append, patience=patience)
    task = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(10):
            yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


async def commit(made: Committer, *events: Event) -> list[Outcome]:
    return list(await asyncio.gather(*[await made.submit(each) for each in events]))


async def test_what_arrives_meanwhile_goes_as_one_batch_in_order() -> None:
    log = FakeLog()
    async with running(log) as made:
        log.open.clear()
        futures = [await made.submit(event("0"))]
        await asyncio.sleep(0)  # the first is on its way alone
        futures += [await made.submit(event(str(n))) for n in range(1, 50)]
        log.open.set()
        assert await asyncio.gather(*futures) == [*range(1, 51)]
    assert log.stored == [str(n) for n in range(50)]
    assert log.batches == [1, 49]


async def test_a_batch_is_bounded_in_events_and_in_bytes() -> None:
    log = FakeLog()
    async with running(log) as made:
        many = [event(str(n)) for n in range(committer.BATCH_EVENTS * 2 + 1)]
        assert len(await commit(made, *many)) == len(many)
        assert log.batches == [committer.BATCH_EVENTS, committer.BATCH_EVENTS, 1]
        log.batches.clear()
        await commit(made, *[event(f"large{n}", committer.BATCH_BYTES * 2 // 5) for n in range(5)])
        assert log.batches == [2, 2, 1]


async def test_an_outage_is_waited_out_and_keeps_the_order() -> None:
    log = FakeLog()
    log.failures = [Unavailable("gone"), Unavailable("still gone")]
    async with running(log) as made:
        assert await commit(made, event("a"), event("b")) == [1, 2]
    assert log.stored == ["a", "b"]
    assert log.batches == [2, 2, 2]


async def test_a_long_outage_is_told_and_then_told_at_once() -> None:
    log = FakeLog()
    gone = Unavailable("gone")
    async with running(log, patience=0.0) as made:
        log.failures = [gone, gone]
        assert await commit(made, event("a"), event("b")) == [gone, gone]
        assert await commit(made, event("c")) == [gone]
        assert await commit(made, event("d")) == [1]


async def test_of_a_batch_only_what_is_refused_is_told_so() -> None:
    log = FakeLog()
    full = LogFull("full")
    log.refused = {"b": full}
    async with running(log) as made:
        assert await commit(made, event("a"), event("b"), event("c")) == [1, full, 2]


async def test_when_nothing_is_stored_one_finds_out_and_the_others_are_told_at_once() -> None:
    log, refusal = FakeLog(), StoresNothing("its disk is full or fails")
    log.failures = [refusal]
    async with running(log) as made:
        assert await commit(made, event("0"), event("1")) == [refusal] * 2
        log.open.clear()
        trying = await made.submit(event("2"))
        await asyncio.sleep(0)
        assert await commit(made, event("3")) == [refusal]
        log.open.set()
        assert await trying == 1
        assert await commit(made, event("3")) == [2]
    assert log.batches == [2, 1, 1]


async def test_producers_wait_when_too_much_is_waiting() -> None:
    log = FakeLog()
    async with running(log) as made:
        log.open.clear()
        large = committer.PENDING_BYTES // 4
        waiting = [await made.submit(event(str(n), large)) for n in range(4)]
        await asyncio.sleep(0)  # one of them is on its way
        waiting.append(await made.submit(event("4", large)))
        blocked = asyncio.create_task(made.submit(event("5")))
        await asyncio.sleep(0)
        assert not blocked.done()
        log.open.set()
        assert await asyncio.gather(*waiting, await blocked) == [1, 2, 3, 4, 5, 6]


async def test_a_producer_that_left_disturbs_nobody() -> None:
    log = FakeLog()
    async with running(log) as made:
        log.open.clear()
        left, stays = await made.submit(event("a")), await made.submit(event("b"))
        left.cancel()
        log.open.set()
        assert await stays == 2
