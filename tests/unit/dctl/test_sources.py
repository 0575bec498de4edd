"""Which files of a folder are its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from dctl.sources import code_files, source_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("print()\n")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "en.txt").write_text("hello\n")
    return tmp_path


@pytest.mark.parametrize("left", ["__pycache__/main.pyc", ".venv/x.py", ".git/HEAD", ".swp"])
def test_what_tools_leave_behind_is_not_code(folder: Path, left: str) -> None:
    before = source_digest(folder)
    (folder / left).parent.mkdir(exist_ok=True)
    (folder / left).write_text("x")
    assert source_digest(folder) == before
    assert [file.name for file in code_files(folder)] == ["main.py", "en.txt"]


def test_the_digest_changes_with_a_files_content_and_with_its_name(folder: Path) -> None:
    seen = {source_digest(folder)}
    (folder / "words" / "en.txt").write_text("hallo\n")
    seen.add(source_digest(folder))
    (folder / "words" / "en.txt").rename(folder / "words" / "de.txt")
    seen.add(source_digest(folder))
    assert len(seen) == 3
