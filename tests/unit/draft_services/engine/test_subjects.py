"""Any Unicode text survives the way into a subject and back."""

from __future__ import annotations

import re

from draft_services.blueprint.keyvalue import MAX_KEY, MAX_TYPE_URL
from draft_services.engine import subjects
from hypothesis import example, given
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


# Few letters, so that what differs only in where it is cut is tried.
FEW = st.text(alphabet="a/.= *>\0é", max_size=4)


@given(FEW | TEXT, FEW | TEXT, FEW | TEXT, FEW | TEXT)
@example("a", "/b", "a", "b")
@example("t", "", "t", "/")
def test_no_two_keys_share_a_subject(kind: str, name: str, other: str, another: str) -> None:
    one, two = subjects.key_subject(kind, name), subjects.key_subject(other, another)
    assert (one == two) == ((kind, name) == (other, another))


# The engine reads one line of the protocol at a time, and ends the connection at a longer one: a
# subject, where to answer and two sizes.
LINE = 4096
BESIDE = len(
    "HPUB $KV.registry. _INBOX.0123456789abcdef0123456789abcdef.0123456789 65535 4194304\r\n"
)


@given(TEXT, TEXT)
@example("é" * (MAX_TYPE_URL // 2), "é" * (MAX_KEY // 2))
@example("\0" * MAX_TYPE_URL, "\0" * MAX_KEY)
@example("/" * MAX_TYPE_URL, "/" * MAX_KEY)
def test_the_subject_of_any_key_is_one_that_the_engine_takes(kind: str, name: str) -> None:
    subject = subjects.key_subject(kind, name)
    assert re.fullmatch(r"[A-Za-z0-9=_-]+(\.[A-Za-z0-9=_-]+)+", subject)
    if len(kind.encode()) <= MAX_TYPE_URL and len(name.encode()) <= MAX_KEY:
        assert len(subject) + BESIDE < LINE


@given(TEXT, TEXT)
def test_different_texts_have_different_tokens(one: str, other: str) -> None:
    assert (subjects.token(one) == subjects.token(other)) == (one == other)


def test_slashes_become_levels() -> None:
    """So that the engine can filter on a folder."""
    assert subjects.key_subject("t", "a/b c") == "t.a.b=20c"
