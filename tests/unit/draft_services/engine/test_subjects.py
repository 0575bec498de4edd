"""Any Unicode text survives the way into a subject and back."""

from __future__ import annotations

import re

from draft_services.engine import subjects
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60)


@given(TEXT)
def test_a_token_is_safe_and_reversible(text: str) -> None:
    token = subjects.token(text)
    assert re.fullmatch(r"[A-Za-z0-9=_-]+", token)
    assert subjects.text(token) == text


@given(TEXT, TEXT)
def test_a_key_subject_is_reversible(kind: str, name: str) -> None:
    assert subjects.split_key_subject(subjects.key_subject(kind, name)) == (kind, name)


@given(TEXT, TEXT)
def test_different_texts_have_different_tokens(one: str, other: str) -> None:
    assert (subjects.token(one) == subjects.token(other)) == (one == other)


def test_slashes_become_levels() -> None:
    """So that the engine can filter on a folder."""
    assert subjects.key_subject("t", "a/b c") == "t.a.b=20c"
