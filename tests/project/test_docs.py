"""Docs cannot drift from what they describe."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_fresh() -> None:
    page = generator()
    assert page.TARGET.read_text() == page.reference(), "run: make docs"


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
