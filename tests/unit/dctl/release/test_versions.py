"""Versions, and the tags that carry them."""

import pytest

from dctl.errors import UsageError
from dctl.release.versions import Part, Version, parse, tag_of, versions_of


@pytest.mark.parametrize(
    ("part", "after"), [("major", "2.0.0"), ("minor", "1.5.0"), ("patch", "1.4.8")]
)
def test_the_next_version_begins_what_is_below_anew(part: Part, after: str) -> None:
    assert str(Version(1, 4, 7).next(part)) == after


def test_each_path_has_a_row_of_versions_of_its_own_which_is_compared_by_numbers() -> None:
    tags = [
        "v1.0.0", "services/cart/v0.10.0", "services/cart/v0.9.0", "services/cart/v0.2.1-rc.1",
        "services/cart-old/v3.0.0", "services/cart/tool/v7.0.0", "services/cart/vnext", "v2",
        "v02.0.0",
    ]  # fmt: skip
    assert list(map(str, versions_of("services/cart", tags))) == ["0.9.0", "0.10.0"]
    assert list(map(str, versions_of("", tags))) == ["1.0.0"]
    assert tag_of("services/cart", Version(0, 10, 1)) == "services/cart/v0.10.1"
    assert tag_of("", Version(1, 0, 1)) == "v1.0.1"


@pytest.mark.parametrize("text", ["1.4", "1.4.0-rc1", "01.4.0", "1.4.0.0", "latest", "", "١.0.0"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no version"):
        parse(text)
    assert parse("v1.4.0") == parse("1.4.0") == Version(1, 4, 0)
