"""Whether code compiles, and whom a change concerns."""

from pathlib import Path

import pytest

from dctl.dev import code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "main.py").write_text("x = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"x = (\n", "a.py:1:5: '(' was never closed"),
        (b"def f():\n  x\n    y\n", "a.py:3:"),
        (b"x = '\xff'\n", "a.py:1:1: is no text in UTF-8"),
        (b"x = 1\0\n", "a.py:1:1: source code "),
    ],
)
def test_what_does_not_compile_is_told_with_its_place(
    folder: Path, content: bytes, words: str
) -> None:
    assert code.problems([folder]) == []
    (folder / "sub").mkdir()
    (folder / "sub/a.py").write_bytes(content)
    (problem,) = code.problems([folder, folder / "not-there"])
    assert problem.startswith(f"sub/{words}")


def test_code_is_only_compiled(folder: Path) -> None:
    (folder / "a.py").write_text("raise SystemExit(1)\n")
    assert code.problems([folder]) == []
    assert not (folder / "__pycache__").exists()


@pytest.mark.parametrize(
    ("path", "concerned"),
    [
        ("/w/services/a/main.py", {"a"}),
        ("/w/services/a/sub/config.yaml", {"a"}),
        ("/w/api/gen/shop_api/x_pb2.py", {"a", "b"}),
        ("/w/services/ab/main.py", set()),
        ("/w/services/a/__pycache__/main.pyc", set()),
        ("/w/services/a/.main.py.swp", set()),
        ("/w/services/a/.venv/lib/x.py", set()),
        ("/w/services/a/orders.db", set()),
        ("/w/services/a/main.py~", set()),
    ],
)
def test_a_change_concerns_those_whose_code_it_is(path: str, concerned: set[str]) -> None:
    shared = Path("/w/api/gen/shop_api")
    folders = {"a": [Path("/w/services/a"), shared], "b": [Path("/w/services/b"), shared]}
    assert code.concerned([path], folders) == concerned


def test_what_a_service_is_told_may_change_with_all_but_code() -> None:
    assert code.only_code(["a.py", "b.pyi"])
    assert not code.only_code(["a.py", "config.yaml"])
