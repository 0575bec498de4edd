"""Names for workspaces, in one private file."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dctl import contexts
from dctl.errors import DctlError, NotFoundError


@pytest.fixture(autouse=True)
def _own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def workspace(tmp_path: Path, name: str) -> Path:
    (tmp_path / name).mkdir()
    (tmp_path / name / "draft.yaml").write_text(f"name: {name}\n")
    return tmp_path / name


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    contexts.add("shop", workspace(tmp_path, "shop"))
    assert stat.S_IMODE(contexts.file().stat().st_mode) == 0o600
    assert stat.S_IMODE(contexts.file().parent.stat().st_mode) == 0o700


def test_none_are_lost_when_several_are_added_at_once(tmp_path: Path) -> None:
    roots = {f"w{n}": workspace(tmp_path, f"w{n}") for n in range(12)}
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: contexts.add(*item), roots.items()))
    assert contexts.read().roots == roots


def test_a_name_of_a_workspace_elsewhere_is_refused_until_that_is_gone(tmp_path: Path) -> None:
    one, other = workspace(tmp_path, "one"), workspace(tmp_path, "other")
    contexts.add("shop", one)
    with pytest.raises(DctlError, match=str(one)):
        contexts.add("shop", other)
    (one / "draft.yaml").unlink()
    contexts.add("shop", other)
    assert contexts.root_of("shop") == other


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    contexts.add("shop", workspace(tmp_path, "shop"))
    with pytest.raises(NotFoundError, match='did you mean "shop"'):
        contexts.root_of("shoop")
    with pytest.raises(NotFoundError):
        contexts.choose("shoop")


def test_a_workspace_that_moved_is_told(tmp_path: Path) -> None:
    root = workspace(tmp_path, "shop")
    contexts.add("shop", root)
    contexts.choose("shop")
    assert contexts.default_root() == root
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(NotFoundError, match="not at"):
        contexts.default_root()


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"contexts": 1}'])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, text: str) -> None:
    contexts.add("shop", workspace(tmp_path, "shop"))
    contexts.file().write_text(text)
    with pytest.raises(DctlError, match=r"contexts\.json"):
        contexts.read()
