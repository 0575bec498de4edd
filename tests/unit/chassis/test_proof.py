"""What a call says of who makes it is read as it was said, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis import proof
from chassis.proof import Nonce

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
# What can be said in a header: no white space in a part of it.
WORD = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
KINDS = st.sampled_from([proof.BEARER, proof.NONCE, "bearer", "Basic", ""])


@given(TEXT | st.tuples(KINDS, TEXT, TEXT).map(" ".join))
def test_any_text_is_read_as_one_proof_or_none(text: str) -> None:
    match proof.read(text):
        case Nonce(name, secret):
            assert text.split() == [proof.NONCE, name, secret]
        case str(token):
            assert text.split() == [proof.BEARER, token]
        case other:
            assert other is None


@given(WORD, WORD)
def test_a_proof_is_read_as_it_was_made(name: str, secret: str) -> None:
    assert proof.read(proof.by_token(secret)) == secret
    assert proof.read(proof.by_nonce(name, secret)) == Nonce(name, secret)


@pytest.mark.parametrize("name", ["", "a b", " a", "a\tb"])
def test_nobody_becomes_somebody_else_by_blanks_in_a_name(name: str) -> None:
    """A name that has any would shift the parts: it is then read as nothing."""
    assert proof.read(proof.by_nonce(name, "s")) != Nonce("a", "b s")
