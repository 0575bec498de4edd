"""Where the secrets of processes are: in memory if there is a place, and never for others."""

import os
from pathlib import Path

import pytest

from dctl.errors import DctlError
from dctl.hosts.process import delivered
from dctl.hosts.process.layout import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    (tmp_path / "shop").mkdir(mode=0o700)
    return Layout(tmp_path / "shop")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that counts as memory."""
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(delivered, "memory", lambda: folder)
    return folder


def test_the_path_is_the_same_wherever_the_files_are(
    layout: Layout, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert delivered.deliver(layout, "a-1", {"db": "pearl"})
    (made,) = memory.iterdir()
    assert (made / "a-1" / "db").read_text() == "pearl"
    assert layout.delivered_to("a-1", "db").read_text() == "pearl"
    delivered.forget(layout)
    assert list(memory.iterdir()) == []
    monkeypatch.setattr(delivered, "memory", lambda: None)
    assert not delivered.deliver(layout, "a-1", {"db": "pearl"})
    assert layout.delivered_to("a-1", "db").read_text() == "pearl"


@pytest.mark.parametrize("in_memory", [True, False])
def test_only_the_owner_reads_it(
    layout: Layout, memory: Path, in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(delivered, "memory", lambda: None)
    before = os.umask(0)
    try:
        delivered.deliver(layout, "a-1", {"db": "pearl"})
    finally:
        os.umask(before)
    folder = layout.delivered.resolve()
    paths = (folder, folder / "a-1", folder / "a-1" / "db")
    modes = [path.stat().st_mode & 0o777 for path in paths]
    assert modes == [0o700, 0o700, 0o600]


def test_what_is_no_longer_asked_for_goes(layout: Layout, memory: Path) -> None:
    delivered.deliver(layout, "a-1", {"db": "pearl", "key": "shell"})
    delivered.deliver(layout, "a-2", {"db": "pearl"})
    delivered.deliver(layout, "a-1", {"key": "other"})
    assert delivered.read(layout, "a-1") == {"key": "other"}
    delivered.deliver(layout, "a-1", {})
    assert delivered.read(layout, "a-1") == {}
    assert delivered.read(layout, "a-2") == {"db": "pearl"}


def test_after_memory_was_emptied_it_is_made_again(layout: Layout, memory: Path) -> None:
    delivered.deliver(layout, "a-1", {"db": "pearl"})
    (made,) = memory.iterdir()
    delivered.remove_tree(made)
    assert not delivered.there(layout, "a-1", "db")
    delivered.deliver(layout, "a-1", {"db": "pearl"})
    assert delivered.there(layout, "a-1", "db")


def test_a_folder_that_others_may_enter_is_refused(layout: Layout, memory: Path) -> None:
    delivered.deliver(layout, "a-1", {"db": "pearl"})
    (made,) = memory.iterdir()
    made.chmod(0o755)
    with pytest.raises(DctlError, match="is not a private folder of ours"):
        delivered.deliver(layout, "a-2", {"db": "pearl"})


def test_nothing_that_we_did_not_make_is_removed(layout: Layout, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    (other / "file").write_text("mine")
    layout.delivered.symlink_to(other)
    delivered.forget(layout)
    assert (other / "file").read_text() == "mine"
    assert not layout.delivered.is_symlink()


def test_only_a_file_system_in_memory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    root = (Path("/"), "ext4")
    monkeypatch.setattr(delivered, "_mounts", lambda: iter([root]))
    assert delivered.memory() is None
    monkeypatch.setattr(delivered, "_mounts", lambda: iter([root, (tmp_path, "tmpfs")]))
    assert delivered.memory() == tmp_path
    disk = tmp_path / "disk"
    disk.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    mounts = [root, (tmp_path, "tmpfs"), (disk, "ext4")]
    monkeypatch.setattr(delivered, "_mounts", lambda: iter(mounts))
    assert delivered.memory() is None
