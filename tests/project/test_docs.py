"""Docs cannot drift from what they describe."""

import re
from pathlib import Path

import pytest

from docs.generator import PAGES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_the_generated_pages_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "run: make docs"


def test_every_link_between_our_pages_leads_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_example_in_the_readme_is_the_example() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"<!-- (\S+) -->\n```python\n(.*?)```", readme, re.DOTALL)
    assert shown is not None
    assert shown[2] == (ROOT / shown[1]).read_text()
