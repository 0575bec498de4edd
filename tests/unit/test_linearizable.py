"""The judge of histories lets no broken store pass, and no right one fail."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.support.linearizable import NOBODY_KNOWS, Operation, contradiction, is_linearizable

History = dict[str, list[Operation]]


def op(
    kind: str, began: float, ended: float, value: str | None = None, expected: str | None = None
) -> Operation:
    return Operation(kind, began, ended, value, expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("right", "history"),
    [
        (True, [op("write", 0, 1, "a"), op("read", 2, 3, "a")]),
        (False, [op("write", 0, 1, "a"), op("read", 2, 3, None)]),
        (False, [op("write", 0, 1, "a"), op("write", 2, 3, "b"), op("read", 4, 5, "a")]),
        (True, [op("write", 0, 3, "a"), op("write", 1, 4, "b"), op("read", 5, 6, "a")]),
        (
            False,
            [op("write", 0, 9, "a"), op("read", 1, 2, "a"), op("read", 3, 4, None)],
        ),
        (True, [op("write", 0, NOBODY_KNOWS, "a"), op("read", 1, 2, None), op("read", 8, 9, "a")]),
        (True, [op("write", 0, NOBODY_KNOWS, "a"), op("refused", 8, 9, None, None)]),
        (False, [op("write", 5, NOBODY_KNOWS, "a"), op("read", 1, 2, "a")]),
        (False, [op("swap", 0, 1, "a", None), op("swap", 2, 3, "b", None)]),
        (True, [op("swap", 0, 1, "a", None), op("refused", 2, 3, "b", None)]),
        (False, [op("refused", 2, 3, "b", None)]),
    ],
)
def test_a_history_is_right_if_one_order_explains_it(right: bool, history: list[Operation]) -> None:
    assert is_linearizable(history) is right


def test_a_refusal_may_be_due_to_any_of_many_writes_that_nobody_saw() -> None:
    unseen = [op("write", n, NOBODY_KNOWS, f"unseen {n}") for n in range(30)]
    reads = [op("read", 40 + n, 41 + n, None) for n in range(400)]
    refused = [op("refused", 500, 501, "b", None), op("read", 502, 503, "c")]
    ends = [op("swap", 600, 601, "d", None)]
    seen = [op("write", 0, NOBODY_KNOWS, "c")]
    assert is_linearizable([*unseen, *reads, *refused, *seen])
    assert not is_linearizable([*unseen, *reads, *refused, *seen, *ends])


class Store:
    """In memory, with a delay before and after each effect; broken in one way or in none."""

    def __init__(self, seed: int, broken: str) -> None:
        self.random = random.Random(seed)
        self.broken = broken
        self.values: dict[str, list[str | None]] = defaultdict(lambda: [None])

    async def _pause(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    def _goes_wrong(self, how: str) -> bool:
        return self.broken == how and self.random.random() < 0.1

    async def read(self, key: str) -> str | None:
        await self._pause()
        stale = self._goes_wrong("stale reads") and len(self.values[key]) > 1
        value = self.values[key][-2 if stale else -1]
        await self._pause()
        return value

    async def write(self, key: str, value: str | None) -> None:
        await self._pause()
        if not self._goes_wrong("lost writes"):
            self.values[key].append(value)
        await self._pause()

    async def swap(self, key: str, expected: str | None, value: str) -> bool:
        await self._pause()
        holds = self.values[key][-1] == expected or self._goes_wrong("blind swaps")
        if holds:
            self.values[key].append(value)
        await self._pause()
        return holds


async def use(store: Store, client: int, clock: Iterator[int], history: History) -> None:
    last: dict[str, str | None] = {}
    for number in range(60):
        key, value = store.random.choice("ab"), f"{client}-{number}"
        expected = last.get(key)
        began = next(clock)
        match store.random.choice(["read", "write", "swap"]):
            case "read":
                last[key] = await store.read(key)
                history[key].append(op("read", began, next(clock), last[key]))
            case "write":
                await store.write(key, value)
                history[key].append(op("write", began, next(clock), value))
            case _:
                done = await store.swap(key, expected, value)
                kind = "swap" if done else "refused"
                history[key].append(op(kind, began, next(clock), value, expected))


async def used(seed: int, broken: str) -> bool:
    """Whether what four clients see of a store can be explained."""
    history: History = defaultdict(list)
    store, clock = Store(seed, broken), itertools.count()
    await asyncio.gather(*(use(store, client, clock, history) for client in range(4)))
    return all(is_linearizable(operations) for operations in history.values())


@pytest.mark.parametrize("broken", ["", "stale reads", "lost writes", "blind swaps"])
async def test_a_broken_store_is_told_from_a_right_one(broken: str) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    judged = [await used(seed + run, broken) for run in range(5)]
    assert all(judged) is not bool(broken)


def test_a_contradiction_is_told_up_to_the_first_answer_that_cannot_be() -> None:
    told = contradiction(
        [
            Operation("write", 0, 1, "a"),
            Operation("write", 2, 3, "b"),
            Operation("read", 4, 5, "a"),  # b was there before it was asked
            Operation("read", 6, 7, "b"),
            Operation("swap", 6, NOBODY_KNOWS, "c", "b"),
        ]
    )
    assert told.splitlines()[-1].endswith("read 'a'")
