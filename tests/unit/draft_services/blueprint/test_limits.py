"""What is refused because there is as much as there may be, and what never is."""

from __future__ import annotations

import pytest
from draft_services.blueprint.limits import Held, Limits, Write, refusal

LIMITS = Limits(keys=10, bytes=1000, store=5000)
EMPTY = Held(0, 0, 0)
FULL = Held(10, 1000, 5000)

NEW = Write(100, None, replaces=False)


def test_what_fits_is_not_refused() -> None:
    assert refusal(LIMITS, EMPTY, NEW) == ""
    assert refusal(LIMITS, Held(9, 900, 4900), NEW) == "", "up to the limit itself"


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (Held(10, 0, 0), "10 keys are held, and the limit is 10"),
        (Held(0, 901, 0), "take 901 bytes, this would add 100, and the limit is 1,000"),
        (Held(0, 0, 4901), "keeps 4,901 bytes of keys and of what they were before"),
    ],
)
def test_a_refusal_says_what_is_held_what_the_limit_is_and_how_to_raise_it(
    held: Held, said: str
) -> None:
    words = refusal(LIMITS, held, NEW)
    assert said in words
    assert "delete some, or raise core.blueprint.config.max_" in words


def test_what_is_there_may_be_written_anew_as_long_as_it_does_not_grow() -> None:
    full = Held(10, 1000, 0)
    assert refusal(LIMITS, full, Write(100, 100, replaces=False)) == ""
    assert refusal(LIMITS, full, Write(50, 100, replaces=False)) == ""
    assert refusal(LIMITS, full, Write(101, 100, replaces=False))


def test_a_lock_is_renewed_however_full_the_engine_is() -> None:
    assert refusal(LIMITS, FULL, Write(100, 100, replaces=True)) == ""
    assert refusal(LIMITS, FULL, Write(100, 100, replaces=False)), "its history grows"
    assert refusal(LIMITS, FULL, Write(100, None, replaces=True))
