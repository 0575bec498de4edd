"""Which events a template selects."""

import pytest
from draft_services.catalyst.template import Pattern, Template
from hypothesis import given
from hypothesis import strategies as st

# Few letters, so that prefixes, stars and equal strings come up often; and some that are not ASCII.
TEXT = st.text(alphabet="ab.*é雪", max_size=6)


@pytest.mark.parametrize(
    ("pattern", "value", "matches"),
    [
        ("", "shop.order", True),
        ("*", "shop.order", True),
        ("*", "", True),
        ("shop.*", "shop.order", True),
        ("shop.*", "shop.", True),
        ("shop.*", "shop", False),
        ("shop*", "shopping", True),
        ("shop.order", "shop.order", True),
        ("shop.order", "shop.order.placed", False),
        ("shop.order", "Shop.Order", False),
        ("*.order", "shop.order", False),
        ("*.order", "*.order", True),
        ("a*b", "a*b", True),
        ("a**", "a*b", True),
        ("a**", "ab", False),
        ("shop.>", "shop.order", False),
        ("雪*", "雪だるま", True),
    ],
)
def test_a_pattern_is_exact_unless_empty_or_ending_in_a_star(
    pattern: str, value: str, matches: bool
) -> None:
    assert Pattern.parse(pattern).matches(value) is matches


@given(TEXT, TEXT)
def test_every_pattern_agrees_with_the_rule_as_it_is_written(pattern: str, value: str) -> None:
    """The rule: empty or `*` is any; a trailing `*` is a prefix; all else is equality."""
    if pattern in ("", "*"):
        expected = True
    elif pattern[-1] == "*":
        expected = value[: len(pattern) - 1] == pattern[:-1]
    else:
        expected = value == pattern
    assert Pattern.parse(pattern).matches(value) is expected


@given(TEXT, TEXT)
def test_every_value_is_matched_by_each_of_its_prefixes(value: str, rest: str) -> None:
    assert Pattern.parse(value + "*").matches(value + rest)


@given(TEXT, TEXT, TEXT, TEXT)
def test_a_template_needs_both_patterns(s: str, t: str, source: str, type_: str) -> None:
    both = Pattern.parse(s).matches(source) and Pattern.parse(t).matches(type_)
    assert Template.parse(source=s, type=t).matches(source=source, type=type_) is both
