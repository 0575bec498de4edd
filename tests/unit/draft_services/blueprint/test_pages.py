"""Pages of a list, put together, are the list; and no token makes anything else of it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from unittest.mock import patch

import pytest
from draft_services.blueprint import keyvalue
from draft_services.blueprint.errors import InvalidArgument
from draft_services.blueprint.keyvalue import KeyValue, Page
from draft_services.blueprint.limits import Limits
from draft_services.blueprint.view import View
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.told import ToldStore, gone, put

# Few letters, so that names are prefixes of each other and of what is asked for.
PREFIXES = st.text(alphabet="ab/ é𐍈\0", max_size=4)
NAMES = PREFIXES.filter(bool)
SIZES = st.integers(0, 9)
TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)


class Listing:
    """A key/value space of entries with values of so many bytes, and a list of it."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.store = ToldStore()
        self.view = View(self.store)  # type: ignore[arg-type]
        self.keys = KeyValue(self.store, self.view, Limits(keys=99, bytes=999, store=999))  # type: ignore[arg-type]
        self.store.tell(
            *(put(n, name, value=bytes(size)) for n, (name, size) in enumerate(sizes.items(), 1))
        )

    def change(self, names: list[str]) -> None:
        """Put these in, or where the number of the change is odd, take them out."""
        after = self.store.last + 1
        changes = [gone(n, name) if n % 2 else put(n, name) for n, name in enumerate(names, after)]
        self.store.tell(*changes, revision=after + len(names) - 1)

    async def __aenter__(self) -> Listing:
        self._follower = asyncio.create_task(self.view.follow())
        await self.view.loaded()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)


@given(
    st.dictionaries(NAMES, SIZES, max_size=12),
    PREFIXES,
    st.integers(1, 5),
    st.lists(st.lists(NAMES, max_size=4), max_size=4),
)
@settings(deadline=None)
def test_pages_together_are_the_sorted_whole_whatever_else_changes_between_them(
    sizes: dict[str, int], prefix: str, page_size: int, changes: list[list[str]]
) -> None:
    """What changes while the pages are asked for may be in them or not; all else is, once."""
    wanted = sorted(name for name in sizes if name.startswith(prefix))
    touched = {name for names in changes for name in names}

    async def read() -> list[str]:
        async with Listing(sizes) as listing:
            whole = await listing.keys.list("t", prefix, 0, "")
            assert [each.key.name for each in whole.entries] == wanted
            found, token, coming = [], "", iter(changes)
            while True:
                page = await listing.keys.list("t", prefix, page_size, token)
                assert len(page.entries) <= page_size
                behind = [each.key.name for each in page.entries]
                assert not found or behind[:1] > found[-1:] or not behind, "a page goes back"
                found += behind
                if not (token := page.token):
                    return found
                assert page.entries, "a page that holds nothing and asks for another one"
                listing.change(next(coming, []))

    with patch.object(keyvalue, "MAX_PAGE_BYTES", 12):
        found = asyncio.run(read())
    assert found == sorted(set(found))
    assert [name for name in found if name not in touched] == [
        name for name in wanted if name not in touched
    ]


def _listed(token: str) -> Page:
    async def ask() -> Page:
        async with Listing({"a": 1, "b": 1}) as listing:
            return await listing.keys.list("t", "", 1, token)

    return asyncio.run(ask())


def _token(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()


@given(TEXT | JSON.map(lambda it: _token(json.dumps(it).encode())) | st.binary().map(_token))
@example(_token(b'[1e999, "a"]'))
@example(_token(b'[null, "a"]'))
@example(_token(b"5"))
@example(_token(b"[" * 100_000))
@example(_token(b"[" + b"9" * 5000 + b', "a"]'))
@example(_token(b'[-1, "a"]'))
@settings(deadline=None)
def test_any_page_token_is_answered_or_refused(token: str) -> None:
    try:
        answer = [each.key.name for each in _listed(token).entries]
    except InvalidArgument as error:
        answer = str(error).split()[:1]
    assert answer in (["a"], ["b"], [], ["page_token:"])


def test_a_page_of_what_has_not_happened_is_refused_at_once() -> None:
    """The token is of before a backup was restored, or made up: waiting for it would not help."""
    with pytest.raises(InvalidArgument, match="list anew"):
        _listed(_token(b'[999, "a"]'))
