"""Sections of a changelog."""

import pytest

from dctl.errors import NotFoundError
from dctl.release.changelog import notes_of, sections

TEXT = """\
# Changelog

## [Unreleased]

### Added
- A thing.

```
## 9.9.9 is in an example
```

## [1.10.0] - 2026-11-02
### Fixed
- Another.
### Removed

## v1.9.0 - 2026-10-01 (yanked)
Nothing much.

[Unreleased]: https://example.com/compare
"""


def test_the_sections_are_read_with_their_dates_in_the_order_of_the_file() -> None:
    found = [(notes.version, notes.date) for notes in sections(TEXT)]
    assert found == [("Unreleased", ""), ("1.10.0", "2026-11-02"), ("1.9.0", "2026-10-01")]


def test_a_section_is_its_text_and_its_changes_by_kind() -> None:
    notes = notes_of(TEXT, "v1.10.0", "CHANGELOG.md")
    assert notes.text == "### Fixed\n- Another.\n### Removed"
    assert notes.changes == {"Fixed": "- Another."}
    assert notes_of(TEXT, "1.9.0", "").text == "Nothing much."
    assert "9.9.9" in notes_of(TEXT, "unreleased", "").changes["Added"]


def test_a_version_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        notes_of(TEXT, "1.10.1", "CHANGELOG.md")
    assert caught.value.message == 'CHANGELOG.md has no section "1.10.1"; did you mean "1.10.0"?'
    assert "1.9.0" in caught.value.hint
