"""Names in their order, whatever was put in and taken out."""

from __future__ import annotations

import pytest
from draft_services.blueprint import names as names_module
from draft_services.blueprint.names import Names
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(alphabet="ab/é", max_size=4)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "_PIECE", 2)


@given(st.sets(TEXT), st.lists(TEXT), TEXT, TEXT)
def test_they_are_what_a_sorted_list_would_be(
    first: set[str], changes: list[str], prefix: str, after: str
) -> None:
    names, expected = Names(first), set(first)
    for name in changes:
        if name in expected:
            names.remove(name)
            expected.remove(name)
        else:
            names.add(name)
            expected.add(name)
    wanted = [
        name for name in sorted(expected) if name.startswith(prefix) and (not after or name > after)
    ]
    assert list(names.starting(prefix, after=after)) == wanted
