"""Durations and sizes."""

import pytest

from dctl.spec.units import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("5s", 5), ("1m30s", 90), ("7d", 604800), ("1.5h", 5400), ("0s", 0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "-5s", "5S", "1s1m", "1s1s", "٣s", "1e3s"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1B", 1), ("512K", 524288), ("256M", 268435456), ("256MiB", 268435456), ("1.5G", 1610612736)],
)
def test_a_size_is_read_in_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "5", "5 M", "M", "-5M", "5m", "1G1M", "1E"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_a_bare_number_is_told_that_a_unit_is_wanted() -> None:
    with pytest.raises(ValueError, match="needs a unit"):
        parse_duration("30")
    with pytest.raises(ValueError, match="needs a unit"):
        parse_size("1024")


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1000, "1000B"), (300 << 20, "300M"), (3 << 29, "1536M"), (1 << 40, "1T")],
)
def test_a_size_is_told_exactly_in_its_largest_unit(size: int, text: str) -> None:
    assert size_text(size) == text
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "500ms"),
        (1, "1s"),
        (90, "1m30s"),
        (86_400 * 7, "7d"),
        (3661.25, "1h1m1s250ms"),
    ],
)
def test_a_duration_is_told_as_a_spec_says_it(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert parse_duration(text) == seconds
