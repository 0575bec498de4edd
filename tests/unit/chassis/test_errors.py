"""What an error says reaches the caller, however long it is."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from chassis.errors import NotFound, said

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.integers(1, 9000))
@example("\0", 70_000)
@example("𐍈", 2001)
def test_a_text_of_any_length_fits_a_header(text: str, times: int) -> None:
    whole = text * times
    told = said(NotFound(whole))
    assert 3 * len(told.encode()) < 8192
    if len(whole.encode()) <= 2000:
        assert told == whole
    else:
        beginning, end = told.split(" ... ", 1) if " ... " not in whole else (told[:9], told[-9:])
        assert whole.startswith(beginning)
        assert whole.endswith(end)
