"""Tokens: keys that rotate, and tokens that are exchanged in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest
from draft_services.blueprint import tokens as tokens_module
from draft_services.blueprint.errors import Denied
from draft_services.blueprint.tokens import Claims, Tokens
from draft_services.engine.errors import Unavailable
from draft_services.engine.store import Entry, Key, Store

LIFETIME = 1000.0
CART = Claims("a-process", "cart", full=False)
Pass = Callable[[float], None]


class Kept:
    """A store of keys in memory."""

    def __init__(self) -> None:
        self.held: dict[Key, Entry] = {}

    async def put(self, key: Key, value: bytes, *, expected: int | None = None) -> int:
        self.held[key] = Entry(key, value, len(self.held) + 1)
        return len(self.held)

    async def delete(self, key: Key) -> int:
        del self.held[key]
        return 1

    async def entries(self) -> list[Entry]:
        return list(self.held.values())


@pytest.fixture
def elapse(monkeypatch: pytest.MonkeyPatch) -> Pass:
    now = time.time()  # PyJWT has a clock of its own

    def elapse(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(tokens_module.time, "time", lambda: now)
    return elapse


def tokens_of(kept: Kept) -> Tokens:
    return Tokens(cast(Store, kept), lifetime=LIFETIME)


def test_who_asks_before_the_keys_are_read_is_told_to_try_again() -> None:
    with pytest.raises(Unavailable, match="try again"):
        tokens_of(Kept()).issue(CART)


async def test_a_token_is_exchanged_once_half_of_its_time_is_over(elapse: Pass) -> None:
    tokens = tokens_of(Kept())
    await tokens.open()
    first = tokens.issue(CART).jwt
    elapse(LIFETIME / 2 - 1)
    assert await tokens.renewed(first) is None
    elapse(2)
    second = await tokens.renewed(first)
    assert second is not None
    assert await tokens.read(second.jwt) == CART
    assert await tokens.renewed(second.jwt) is None


async def test_a_key_signs_for_as_long_as_a_token_lives_and_its_tokens_are_good_to_their_end(
    elapse: Pass,
) -> None:
    kept = Kept()
    tokens = tokens_of(kept)
    await tokens.open()
    elapse(LIFETIME - 1)
    await tokens._rotate()
    assert len(kept.held) == 1
    late = tokens.issue(CART).jwt
    elapse(2)
    await tokens._rotate()
    await tokens._rotate()
    assert len(kept.held) == 2
    other = tokens_of(kept)  # another Blueprint
    await other.open()
    assert await other.read(late) == CART
    assert await other.read(tokens.issue(CART).jwt) == CART
    elapse(LIFETIME + 3600 + 61)
    await tokens._rotate()
    assert len(kept.held) == 2  # the old one went, the next one is old by now
    with pytest.raises(Denied, match="does not know"):
        await tokens.read(late)


async def test_keys_from_before_they_told_when_they_were_made_are_followed_by_one_that_does(
    elapse: Pass,
) -> None:
    kept = Kept()
    tokens = tokens_of(kept)
    await tokens.open()
    ((key, entry),) = kept.held.items()
    kept.held = {Key(key.kind, "0a1b"): Entry(Key(key.kind, "0a1b"), entry.value, 1)}
    await tokens._load()
    issued = tokens.issue(CART).jwt
    await tokens._rotate()
    assert len(kept.held) == 2
    assert await tokens.read(issued) == CART
