"""What the engine refuses is believed only when the view says so, too."""

from __future__ import annotations

from typing import Any, cast

import pytest
from draft_services.blueprint.keyvalue import KeyValue
from draft_services.blueprint.limits import Limits
from draft_services.blueprint.view import View
from draft_services.engine.errors import Conflict
from draft_services.engine.store import Entry, Key, Store

KEY = Key("t", "k")


class Lying:
    """A store of which the first answers come from a node that does not know what happened."""

    stored = 0

    def __init__(self, *answers: int | Conflict) -> None:
        self.answers = list(answers)

    async def _answer(self, *_: object, **__: object) -> int:
        answer = self.answers.pop(0)
        if isinstance(answer, Conflict):
            raise answer
        return answer

    put = delete = _answer


class Knowing:
    """A view that has everything; `revision` is what the key is at, 0 when it is not there."""

    count = bytes = 0

    def __init__(self, revision: int) -> None:
        self._revision = revision

    async def current(self) -> None: ...

    def get(self, key: Key) -> Entry | None:
        return Entry(key, b"", self._revision) if self._revision else None


def keys(store: Lying, revision: int) -> KeyValue:
    limits = Limits(keys=9, bytes=999, store=999)
    return KeyValue(cast(Store, store), cast(View, Knowing(revision)), limits)


async def test_a_condition_that_holds_is_tried_again_after_a_refusal() -> None:
    store = Lying(Conflict("old", current=3), 9)
    assert await keys(store, 7).set(KEY, b"v", expected=7) == 9


async def test_a_refusal_tells_the_revision_that_the_view_has() -> None:
    with pytest.raises(Conflict) as refused:
        await keys(Lying(Conflict("old", current=3)), 8).set(KEY, b"v", expected=7)
    assert refused.value.current == 8


async def test_a_key_that_is_there_is_removed_though_the_engine_did_not_find_it() -> None:
    assert await keys(Lying(0, 9), 7).delete(KEY) == 9


async def test_what_is_not_there_is_not_removed() -> None:
    assert await keys(Lying(0), 0).delete(KEY) == 0


async def test_that_a_key_which_must_not_exist_is_there_is_a_refusal() -> None:
    refusal: Any = Conflict("old", current=8)
    with pytest.raises(Conflict):
        await keys(Lying(refusal), 8).set(KEY, b"v", expected=0)
