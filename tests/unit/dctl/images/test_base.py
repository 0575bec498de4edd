"""What a base image says of itself."""

from __future__ import annotations

import pytest

from dctl.errors import DctlError
from dctl.images.base import Base, parse


def test_a_base_is_known_by_its_python_its_machine_and_its_glibc() -> None:
    assert parse("x:1", "3.12 x86_64 glibc 2.36\n") == Base("x:1", "3.12", "x86_64", 36)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("3.9 x86_64 glibc 2.31", "has Python 3.9; Draft needs 3.11 or newer"),
        ("3.12 x86_64 none 0", "not built on glibc"),
        ("3.12 x86_64 libc 1.2.5", "not built on glibc"),
        ("nonsense", "did not say what it is, but: 'nonsense'"),
        ("3.x x86_64 glibc 2.36", "did not say what it is"),
        ("3.12 x86_64 glibc 2", "did not say what it is"),
    ],
)
def test_a_base_on_which_nothing_of_ours_runs_is_refused_and_another_is_named(
    answer: str, words: str
) -> None:
    with pytest.raises(DctlError, match=words) as caught:
        parse("x:1", answer)
    assert "x:1" in caught.value.message
    assert "python:3.12-slim" in caught.value.hint
